"""Do lips and speech go together? A small network for the evaluation alone: never a loss, never a part of a model.

Letters: B clips, T video frames (25 per second), U frames of speech features, P points of the mouth, S features of
speech, D width of an embedding. Two towers embed about 11 frames of the mouth's landmarks and of the speech around each
frame; the cosine of the two says how well they fit (after Chung and Zisserman, "Out of time", ACCV-W 2016, which looks
at pixels). The network sees rigidly aligned landmarks only: neither the picture's quality nor who it is counts. What
its judgement is worth, its accuracy on people unseen in training, stands in its file (`config`).
"""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import LANDMARKS, InputError
from anitalker.faces.landmarks import FACE_OVAL, LIP_PAIRS, LIPS, fit_pose, level_depth, to_canonical
from anitalker.models import loading
from encoders import audio
from encoders.speech import SpeechFeatures

JAW = FACE_OVAL[10:27]  # from the left to the right, the chin in the middle
MOUTH = LIPS + JAW
UPPER, LOWER = (tuple(MOUTH.index(pair[side]) for pair in LIP_PAIRS) for side in (0, 1))  # points that meet: the gaps
MEAN_FRAMES = 71  # the moving mean that is subtracted: a neutral face is not needed
POSITION_SCALE, SPEED_SCALE, GAP_SCALE = 30.0, 60.0, 20.0  # face heights (per frame) -> about 1
DILATIONS = (1, 1, 2)  # of the 3-tap convolutions: 9 frames, and 11 with the speed of the lips
MAX_SHIFT = 15  # frames
LEAST_FRAMES = 25


class _Block(nn.Module):
    """A residual convolution over time and a mixing of channels: [B,T,width] -> the same."""

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.gelu(self.conv(self.norm(x).transpose(1, 2)).transpose(1, 2))
        return x + self.out(self.dropout(inner))


class Tower(nn.Module):
    """Features [B,T,inside] -> embeddings of unit length [B,T,size], each from the frames around it."""

    def __init__(self, inside: int, width: int, size: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.enter = nn.Linear(inside, width)
        self.blocks = nn.Sequential(*(_Block(width, dilation, dropout) for dilation in DILATIONS))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, size)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.blocks(self.enter(self.dropout(x)))
        return F.normalize(self.out(self.norm(inner)).float(), dim=-1)


class SyncJudgeNetwork(nn.Module):
    """Mouth shapes and speech features -> embeddings whose cosine is high where they belong together.

    width: of both towers; size: D; speech_size: S; dropout: in training.
    """

    canonical: Tensor

    def __init__(self, width: int = 128, size: int = 64, speech_size: int = 323, dropout: float = 0.0) -> None:
        super().__init__()
        self.lips = Tower(4 * len(MOUTH) + len(UPPER), width, size, dropout)
        self.speech = Tower(speech_size, width, size, dropout)
        self.log_scale = nn.Parameter(torch.tensor(2.0))  # of cosines in the loss
        self.register_buffer("canonical", torch.zeros(LANDMARKS, 3))  # the face to which landmarks are aligned

    def forward(self, shapes: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mouth shapes [B,T,P,2] in face heights, speech features [B,U,S] -> [B,T,D] and [B,U,D], unit length."""
        return self.lips(lip_features(shapes)), self.speech(features)


def mouth_shapes(landmarks: np.ndarray, canonical: Tensor) -> Tensor:
    """Landmarks [T,468,3] in any unit -> float32 [T,P,2], points of MOUTH in face heights, rigidly aligned."""
    points = torch.as_tensor(landmarks, dtype=torch.float32)
    pose = fit_pose(points, canonical)
    return to_canonical(level_depth(points, pose, canonical), pose)[:, list(MOUTH), :2]


def lip_features(shapes: Tensor) -> Tensor:
    """Mouth shapes [B,T,P,2] -> [B,T,4P+9]: positions about their moving mean, speeds, gaps between the lips."""
    flat = shapes.flatten(2)
    side = MEAN_FRAMES // 2
    mean = F.avg_pool1d(flat.transpose(1, 2), MEAN_FRAMES, 1, side, count_include_pad=False).transpose(1, 2)
    padded = torch.cat([flat[:, :1], flat, flat[:, -1:]], 1)
    speed = (padded[:, 2:] - padded[:, :-2]) / 2
    gaps = shapes[:, :, LOWER, 1] - shapes[:, :, UPPER, 1]
    return torch.cat([(flat - mean) * POSITION_SCALE, speed * SPEED_SCALE, gaps * GAP_SCALE], 2)


def shifted_cosines(lips: Tensor, speech: Tensor, max_shift: int = MAX_SHIFT) -> Tensor:
    """Embeddings [T,D] and [U,D] -> cosines [T,2 max_shift+1] of frame t with speech t + shift; NaN where is none."""
    columns = []
    for shift in range(-max_shift, max_shift + 1):
        first, end = max(0, -shift), min(len(lips), len(speech) - shift)
        column = lips.new_full((len(lips),), float("nan"))
        if first < end:
            column[first:end] = (lips[first:end] * speech[first + shift : end + shift]).sum(-1)
        columns.append(column)
    return torch.stack(columns, 1)


def verdict(cosines: Tensor) -> dict[str, float]:
    """Cosines [T,2n+1] -> confidence, by how much the best shift's mean lies above the median shift's, and that shift.

    offset_frames: above zero the sound is late. Shifts that leave less than half of the frames of the fullest do not
    count.
    """
    count = (~cosines.isnan()).sum(0)
    means = torch.where(2 * count >= count.max(), cosines.nanmean(0), torch.nan)
    middle = means.nanmedian()
    best = int(means.nan_to_num(-2.0).argmax())
    return {"confidence": float(means[best] - middle), "offset_frames": best - len(means) // 2}


class SyncJudge:
    """`judge(landmarks, sound)`: how well a mouth and a sound go together. name: registry name or file."""

    def __init__(self, name: str | os.PathLike = "sync_judge") -> None:
        self.config, tensors = loading.read(name)
        sizes = self.config.get("sync_judge")
        if not isinstance(sizes, dict):
            raise InputError(f"{str(name)!r} is no sync judge; make one with scripts.train_sync_judge")
        self.network, self.features = SyncJudgeNetwork(**sizes).eval(), SpeechFeatures()
        loading.fill({"sync_judge": self.network}, tensors, str(name))

    @torch.inference_mode()
    def __call__(self, landmarks: np.ndarray, sound: np.ndarray, seen: np.ndarray | None = None) -> dict[str, float]:
        """Landmarks [T,468,3] at 25 frames per second, sound [N] at 16 kHz -> confidence, offset_frames (`verdict`).

        seen: bool [T], frames that count. InputError where fewer than LEAST_FRAMES of them have sound.
        """
        keep = torch.ones(len(landmarks), dtype=torch.bool) if seen is None else torch.as_tensor(seen)
        level = audio.normalise_level(torch.from_numpy(np.array(sound, np.float32)))
        heard = min(int(keep.sum()), audio.frame_count(len(level)))
        if heard < LEAST_FRAMES:
            raise InputError(f"{heard} frames show a face beside sound; at least {LEAST_FRAMES} (1 s) are needed")
        shapes = mouth_shapes(landmarks, self.network.canonical)
        lips, speech = self.network(shapes[None], self.features(level)[None])
        return verdict(shifted_cosines(lips[0], speech[0])[keep])
