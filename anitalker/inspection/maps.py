"""Where codes lie: maps by PCA and t-SNE, nearest neighbours, and the patches that excite a channel most.

Letters: n codes or pictures, M motion numbers, C channels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from anitalker.inspection.attribution import need
from anitalker.inspection.views import View

NEAR = 12  # frames: neighbours in time are no news
PATCHES = 8
SMALLEST = 40  # pixels of a shown patch


def flat(codes: np.ndarray) -> dict[str, tuple[np.ndarray, str]]:
    """Codes [n,M] in units of their spread -> name: places [n,2] and a note; t-SNE only where there are enough."""
    pca = need("sklearn.decomposition").PCA(2)
    places = pca.fit_transform(codes)
    kept = 100 * pca.explained_variance_ratio_
    found = {"PCA": (places, f"the two axes hold {kept[0]:.0f}% and {kept[1]:.0f}% of the variation")}
    if len(codes) >= 10:
        near = min(30, (len(codes) - 1) / 3)
        tsne = need("sklearn.manifold").TSNE(2, perplexity=near, init="pca", random_state=0)
        found["t-SNE"] = (tsne.fit_transform(codes.astype(np.float32)), f"perplexity {near:.0f}")
    return found


def neighbours(codes: np.ndarray, asked: list[int], count: int, apart: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of codes [n,M] to some of them: numbers and distances [asked,count].

    Within a clip, those less than `apart` frames away are left out. Fewer than count are padded by the last.
    """
    model = need("sklearn.neighbors").NearestNeighbors(n_neighbors=len(codes)).fit(codes)
    distances, order = model.kneighbors(codes[asked])
    found, far = [], []
    for number, row, lengths in zip(asked, order, distances, strict=True):
        keep = [i for i, other in enumerate(row) if other != number and abs(other - number) > apart][:count]
        keep += keep[-1:] * (count - len(keep))
        found.append(row[keep])
        far.append(lengths[keep])
    return np.array(found), np.array(far)


def spread_out(codes: np.ndarray, count: int) -> list[int]:
    """Some of the codes [n,M] that are far from each other: the most unusual, then the farthest from all so far."""
    chosen = [int(np.linalg.norm(codes - codes.mean(0), axis=1).argmax())]
    while len(chosen) < min(count, len(codes)):
        nearest = np.linalg.norm(codes[:, None] - codes[chosen], axis=2).min(1)
        chosen.append(int(nearest.argmax()))
    return chosen


@torch.no_grad()
def exciting_patches(view: View, seen: Tensor, stage: int, channel: int | None) -> tuple[int, np.ndarray, np.ndarray]:
    """Patches of pictures [n,3,s,s] where a channel of a stage is strongest, one per picture at most.

    channel None: the one whose peaks stand out most from its usual value. Returns the channel, patches
    [PATCHES,p,p,3] in 0..1 and its values there.
    """
    maps = torch.cat([view.pyramid(part)[stage] for part in seen.split(8)])  # [n,C,H,W]
    if channel is None:
        peaks = maps.amax((2, 3))
        channel = int(((peaks.mean(0) - maps.mean((0, 2, 3))) / maps.std((0, 2, 3)).clamp(min=1e-6)).argmax())
    mine = maps[:, channel]
    values, places = mine.flatten(1).max(1)
    best = values.argsort(descending=True)[:PATCHES]
    size, width = seen.shape[-1], mine.shape[-1]
    patch = min(size, max(SMALLEST, 3 * size // width))
    cuts = []
    for number in best.tolist():
        y, x = (int((int(at) + 0.5) * size / width) for at in divmod(int(places[number]), width))
        top, left = (min(max(0, at - patch // 2), size - patch) for at in (y, x))
        cuts.append((seen[number, :, top : top + patch, left : left + patch].permute(1, 2, 0).cpu().numpy() + 1) / 2)
    return channel, np.stack(cuts).clip(0, 1), values[best].cpu().numpy()
