"""Maps of codes by PCA and t-SNE, nearest neighbours, and the patches that activate a channel most.

Letters: n codes or pictures, M motion numbers, C channels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from anitalker.inspection.attribution import import_extra
from anitalker.inspection.views import View

MIN_DISTANCE_FRAMES = 12  # nearest neighbours in a clip are at least this far apart in time
PATCH_COUNT = 8
MIN_PATCH_PIXELS = 40


def project_to_plane(codes: np.ndarray) -> dict[str, tuple[np.ndarray, str]]:
    """Codes [n,M] in units of their standard deviation -> {method: (points [n,2], note)}; t-SNE from 10 codes on."""
    pca = import_extra("sklearn.decomposition").PCA(2)
    points = pca.fit_transform(codes)
    percent = 100 * pca.explained_variance_ratio_
    maps = {"PCA": (points, f"the two axes hold {percent[0]:.0f}% and {percent[1]:.0f}% of the variation")}
    if len(codes) >= 10:
        perplexity = min(30, (len(codes) - 1) / 3)
        tsne = import_extra("sklearn.manifold").TSNE(2, perplexity=perplexity, init="pca", random_state=0)
        maps["t-SNE"] = (tsne.fit_transform(codes.astype(np.float32)), f"perplexity {perplexity:.0f}")
    return maps


def nearest_neighbours(
    codes: np.ndarray, queries: list[int], count: int, min_gap: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of codes [n,M] to those with the indices `queries`: indices and distances [queries,count].

    Codes whose index differs by `min_gap` or less are left out. If there are fewer than `count`, the last is repeated.
    """
    model = import_extra("sklearn.neighbors").NearestNeighbors(n_neighbors=len(codes)).fit(codes)
    all_distances, all_indices = model.kneighbors(codes[queries])
    indices, distances = [], []
    for query, row, row_distances in zip(queries, all_indices, all_distances, strict=True):
        keep = [i for i, other in enumerate(row) if other != query and abs(other - query) > min_gap][:count]
        keep += keep[-1:] * (count - len(keep))
        indices.append(row[keep])
        distances.append(row_distances[keep])
    return np.array(indices), np.array(distances)


def farthest_points(codes: np.ndarray, count: int) -> list[int]:
    """Indices of codes [n,M] far from each other: the farthest from the mean, then the farthest from those chosen."""
    chosen = [int(np.linalg.norm(codes - codes.mean(0), axis=1).argmax())]
    while len(chosen) < min(count, len(codes)):
        nearest = np.linalg.norm(codes[:, None] - codes[chosen], axis=2).min(1)
        chosen.append(int(nearest.argmax()))
    return chosen


@torch.no_grad()
def strongest_patches(
    view: View, images: Tensor, stage: int, channel: int | None
) -> tuple[int, np.ndarray, np.ndarray]:
    """Patches of images [n,3,s,s] where a channel of a stage is strongest, at most one per image.

    channel None: the channel whose peaks stand out most from its mean. Returns the channel, patches
    [PATCH_COUNT,p,p,3] in 0..1 and the channel's values there [PATCH_COUNT].
    """
    maps = torch.cat([view.pyramid(batch)[stage] for batch in images.split(8)])  # [n,C,H,W]
    if channel is None:
        peaks = maps.amax((2, 3))
        channel = int(((peaks.mean(0) - maps.mean((0, 2, 3))) / maps.std((0, 2, 3)).clamp(min=1e-6)).argmax())
    channel_maps = maps[:, channel]
    values, positions = channel_maps.flatten(1).max(1)
    best = values.argsort(descending=True)[:PATCH_COUNT]
    size, width = images.shape[-1], channel_maps.shape[-1]
    side = min(size, max(MIN_PATCH_PIXELS, 3 * size // width))
    patches = []
    for index in best.tolist():
        y, x = (int((cell + 0.5) * size / width) for cell in divmod(int(positions[index]), width))
        top, left = (min(max(0, centre - side // 2), size - side) for centre in (y, x))
        patch = images[index, :, top : top + side, left : left + side]
        patches.append((patch.permute(1, 2, 0).cpu().numpy() + 1) / 2)
    return channel, np.stack(patches).clip(0, 1), values[best].cpu().numpy()
