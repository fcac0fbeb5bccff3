"""SyncNet: how well lips and sound go together (Chung and Zisserman, "Out of time", ACCV-W 2016), with its weights.

The published file `syncnet_v2.model` is read as tensors. LSE-D is the least mean distance of lip and sound embeddings
over shifts of -15..15 frames, LSE-C how far the median shift lies above it (Prajwal et al., 2020). The original finds
faces with S3FD; here the crop is laid about our landmarks in its proportions, so figures may differ a little from
published ones: compare systems by one scorer.
"""

from __future__ import annotations

import pickle

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import InputError
from encoders import mfcc

SIDE = 224  # pixels of a mouth picture
WINDOW = 5  # frames, and 20 cepstral frames of sound
SHIFT = 15  # frames
AROUND = 0.4  # of the face box: how much more the crop shows
BATCH = 20


def _flat(*layers: tuple, kind: type, norm: type) -> list[nn.Module]:
    """(in, out, kernel, stride, padding) -> convolution, normalisation, ReLU; a module stands for itself."""
    made: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.Module):
            made.append(layer)
        else:
            made += [kind(*layer), norm(layer[1]), nn.ReLU()]
    return made


class SyncNetwork(nn.Module):
    """Two towers with the names of the published file: 5 mouth pictures and 0.2 s of sound -> 1024 numbers each."""

    def __init__(self, size: int = 1024) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_flat(
                (1, 64, 3, 1, 1), nn.MaxPool2d(1, 1),
                (64, 192, 3, 1, 1), nn.MaxPool2d(3, (1, 2)),
                (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1), nn.MaxPool2d(3, 2),
                (256, 512, (5, 4), 1, 0),
                kind=nn.Conv2d, norm=nn.BatchNorm2d,
            )
        )  # fmt: skip
        self.netcnnlip = nn.Sequential(
            *_flat(
                (3, 96, (5, 7, 7), (1, 2, 2), 0), nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
                (96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1)), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
                (256, 256, (1, 3, 3), 1, (0, 1, 1)), (256, 256, (1, 3, 3), 1, (0, 1, 1)),
                (256, 256, (1, 3, 3), 1, (0, 1, 1)), nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
                (256, 512, (1, 6, 6), 1, 0),
                kind=nn.Conv3d, norm=nn.BatchNorm3d,
            )
        )  # fmt: skip
        for name in ("netfcaud", "netfclip"):
            head = nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, size))
            setattr(self, name, head)

    def lips(self, pictures: Tensor) -> Tensor:
        """[B,3,5,224,224], blue green red in 0..255 -> [B,size]."""
        return self.netfclip(self.netcnnlip(pictures).flatten(1))

    def sound(self, cepstra: Tensor) -> Tensor:
        """[B,1,13,20] -> [B,size]."""
        return self.netfcaud(self.netcnnaud(cepstra).flatten(1))


class SyncNet:
    """`syncnet(frames, points, speech)` -> {"lse_c", "lse_d", "offset"}; path: the published weights."""

    def __init__(self, path: str) -> None:
        self.network = SyncNetwork()
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.network.load_state_dict(state)
        except (RuntimeError, EOFError, OSError, AttributeError, TypeError, pickle.UnpicklingError) as error:
            line = " ".join(str(error).split())[:120]
            raise InputError(f"syncnet is {path!r}, which is no syncnet_v2.model ({line})") from None
        self.network.eval()

    @torch.inference_mode()
    def __call__(self, frames: np.ndarray, points: np.ndarray, speech: np.ndarray) -> dict[str, float]:
        """uint8 [T,H,W,3] at 25 fps, landmarks [T,468,3] in crop units, speech [N] at 16 kHz; T at least 6."""
        pictures, cepstra = mouths(frames, points), sound_windows(speech, len(frames))
        lips, sound = [], []
        for start in range(0, min(len(cepstra), len(pictures) - WINDOW + 1), BATCH):
            rows = range(start, min(start + BATCH, len(cepstra), len(pictures) - WINDOW + 1))
            lips.append(self.network.lips(torch.stack([pictures[i : i + WINDOW].transpose(0, 1) for i in rows])))
            sound.append(self.network.sound(cepstra[rows.start : rows.stop, None]))
        return confidence(torch.cat(lips), torch.cat(sound))


def confidence(lips: Tensor, sound: Tensor) -> dict[str, float]:
    """Embeddings [T,D] of lips and sound -> distance at the best shift, confidence, and the shift in frames.

    The sign is the published script's: above zero, the sound that fits stands earlier in the recording: late lips.
    """
    padded = F.pad(sound, (0, 0, SHIFT, SHIFT))
    count = len(lips)
    means = torch.stack([
        (lips - padded[shift : shift + count] + 1e-6).norm(dim=1).mean() for shift in range(2 * SHIFT + 1)
    ])  # fmt: skip
    best = int(means.argmin())
    least = float(means[best])
    return {"lse_d": least, "lse_c": float(means.median()) - least, "offset": SHIFT - best}


def sound_windows(speech: np.ndarray, frames: int) -> Tensor:
    """13 cepstra of 16 bit sound, 20 frames of 10 ms for every video frame that has them: [K,13,20]."""
    samples = torch.from_numpy(np.asarray(speech, np.float32)[: frames * 640]) * 32768
    cepstra = mfcc.features(samples)[:, : mfcc.CEPSTRA].T  # [13,K]
    count = max(0, min(frames, (cepstra.shape[1] - 20) // 4 + 1))
    if not count:
        raise InputError(f"{len(speech)} samples of speech are too few for SyncNet; it needs 0.2 s")
    return torch.stack([cepstra[:, 4 * i : 4 * i + 20] for i in range(count)])


def mouths(frames: np.ndarray, points: np.ndarray) -> Tensor:
    """The face box of each frame, smoothed over a second and enlarged downwards, as [T,3,224,224] BGR in 0..255."""
    flat = points[..., :2]
    low, high = flat.min(1), flat.max(1)  # [T,2], crop units
    half, middle = (high - low).max(1) / 2, (low + high) / 2
    half, middle = _median(half[:, None])[:, 0], _median(middle)
    centre = torch.tensor(middle + np.stack([0 * half, AROUND * half], 1), dtype=torch.float32)
    reach = torch.tensor(half * (1 + AROUND), dtype=torch.float32)
    axis = (torch.arange(SIDE) + 0.5) * 2 / SIDE - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    cut = []
    for i in range(len(frames)):
        places = centre[i] + reach[i] * torch.stack([x, y], -1)
        picture = torch.from_numpy(np.array(frames[i])).permute(2, 0, 1)[None].float()
        cut.append(F.grid_sample(picture, 2 * places[None] - 1, padding_mode="border", align_corners=False))
    return torch.cat(cut).flip(1)


def _median(values: np.ndarray, reach: int = 6) -> np.ndarray:
    """Running median over 13 frames of [T,C]; the edges repeat."""
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    return np.median(np.stack([padded[i : i + len(values)] for i in range(2 * reach + 1)]), 0)
