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
from scipy.ndimage import median_filter
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import InputError
from encoders import mfcc
from scripts.evaluation.perception import squares

SIDE = 224  # pixels of a mouth picture
WINDOW = 5  # frames, and 20 cepstral frames of sound
SHIFT = 15  # frames
AROUND = 0.4  # of the face box: how much more the crop shows
SMOOTHED = 13  # frames of the running median of the face box
BATCH = 20


def tower(convolution: type, normalisation: type, *layers: tuple | nn.Module) -> nn.Sequential:
    """(in, out, kernel, stride, padding) -> convolution, normalisation, ReLU; a module stands for itself."""
    modules: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.Module):
            modules.append(layer)
        else:
            modules += [convolution(*layer), normalisation(layer[1]), nn.ReLU()]
    return nn.Sequential(*modules)


class SyncNetwork(nn.Module):
    """Two towers with the names of the published file: 5 mouth pictures and 0.2 s of sound -> 1024 numbers each."""

    def __init__(self, size: int = 1024) -> None:
        super().__init__()
        self.netcnnaud = tower(
            nn.Conv2d, nn.BatchNorm2d,
            (1, 64, 3, 1, 1), nn.MaxPool2d(1, 1),
            (64, 192, 3, 1, 1), nn.MaxPool2d(3, (1, 2)),
            (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1), nn.MaxPool2d(3, 2),
            (256, 512, (5, 4), 1, 0),
        )  # fmt: skip
        self.netcnnlip = tower(
            nn.Conv3d, nn.BatchNorm3d,
            (3, 96, (5, 7, 7), (1, 2, 2), 0), nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            (96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1)), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            (256, 256, (1, 3, 3), 1, (0, 1, 1)), (256, 256, (1, 3, 3), 1, (0, 1, 1)),
            (256, 256, (1, 3, 3), 1, (0, 1, 1)), nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            (256, 512, (1, 6, 6), 1, 0),
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
            self.network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except (RuntimeError, EOFError, OSError, AttributeError, TypeError, pickle.UnpicklingError) as error:
            line = " ".join(str(error).split())[:120]
            raise InputError(f"syncnet is {path!r}, which is no syncnet_v2.model ({line})") from None
        self.network.eval()

    @torch.inference_mode()
    def __call__(self, frames: np.ndarray, points: np.ndarray, speech: np.ndarray) -> dict[str, float]:
        """uint8 [T,H,W,3] at 25 fps, landmarks [T,468,3] in crop units, speech [N] at 16 kHz; T at least 6."""
        pictures, cepstra = mouths(frames, points), sound_windows(speech, len(frames))
        windows = pictures.unfold(0, WINDOW, 1).movedim(-1, 2)  # [T - 4,3,5,224,224]
        count = min(len(windows), len(cepstra))
        lips = [self.network.lips(batch) for batch in windows[:count].split(BATCH)]
        sound = [self.network.sound(batch[:, None]) for batch in cepstra[:count].split(BATCH)]
        return confidence(torch.cat(lips), torch.cat(sound))


def confidence(lips: Tensor, sound: Tensor) -> dict[str, float]:
    """Embeddings [T,D] of lips and sound -> distance at the best shift, confidence, and the shift in frames.

    The sign is the published script's: above zero, the sound that fits stands earlier in the recording: late lips.
    """
    shifted = F.pad(sound, (0, 0, SHIFT, SHIFT)).unfold(0, len(lips), 1)  # [2 SHIFT + 1,D,T]
    means = torch.stack([F.pairwise_distance(lips, at.T).mean() for at in shifted])
    best = int(means.argmin())
    least = float(means[best])
    return {"lse_d": least, "lse_c": float(means.median()) - least, "offset": SHIFT - best}


def sound_windows(speech: np.ndarray, frames: int) -> Tensor:
    """13 cepstra of 16 bit sound, 20 frames of 10 ms for every video frame that has them: [K,13,20]."""
    samples = torch.from_numpy(np.asarray(speech, np.float32)[: frames * 640]) * 32768
    cepstra = mfcc.features(samples)[:, : mfcc.CEPSTRA].T  # [13,K]
    if cepstra.shape[1] < 20:
        raise InputError(f"{len(speech)} samples of speech are too few for SyncNet; it needs 0.2 s")
    return cepstra.unfold(1, 20, 4).movedim(1, 0)[:frames]


def mouths(frames: np.ndarray, points: np.ndarray) -> Tensor:
    """The face box of each frame, smoothed over a second and enlarged downwards, as [T,3,224,224] BGR in 0..255."""
    low, high = points[..., :2].min(1), points[..., :2].max(1)  # [T,2], crop units
    boxes = np.concatenate([(low + high) / 2, (high - low).max(1, keepdims=True) / 2], 1)  # centre and half side
    boxes = torch.tensor(median_filter(boxes, (SMOOTHED, 1), mode="nearest"), dtype=torch.float32)
    centres = boxes[:, :2] + boxes[:, 2:] * torch.tensor([0, AROUND])
    pictures = torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2).float()
    return squares(pictures, centres, boxes[:, 2] * (1 + AROUND), SIDE).flip(1)
