"""Training examples for the sync judge: windows of mouth shapes beside their speech, both altered.

Letters: B windows of L = WINDOW frames, P points of the mouth, M mel bands, S speech features. Speech is altered as log
power (room and microphone as a curve over the bands, level, noise, other people's voices), lips as landmarks are wrong:
by a constant shape, by noise over time that is shared by the whole mouth or not, by frames that repeat.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from encoders.audio import MEL_PER_FRAME
from encoders.speech import POWER_FLOOR, SpeechFeatures
from scripts.evaluation.sync_judge import MOUTH
from scripts.training.augment import mirror_index
from scripts.training.sync_data import SyncClip

MAX_SHIFT = 10  # frames of speech on either side of the lips that are compared
CORE = 50  # frames of lips that are compared: 2 s
WINDOW = CORE + 2 * MAX_SHIFT
GENERATED_WEIGHT = 0.5  # against filmed clips
SHAPE_NOISE = 0.005  # constant error of a point, face heights
LANDMARK_NOISE = 0.010  # largest deviation of a window's landmarks over time, face heights
MOUTH_RADIUS = 0.15  # face heights
REPEATED_SHARE = 0.2  # of windows with repeated frames
NOISE_SHARE, VOICES_SHARE = 0.5, 0.25  # of windows with noise, and with another voice
SILENCE = float(np.log(POWER_FLOOR))


class SyncExamples:
    """Draws batches of windows; people with much data are drawn by the square root of their frames.

    clips; features, the speech features; canonical face [468,3]. Clips that are shorter than a window, or whose offset
    is unknown, are left out.
    """

    def __init__(self, clips: Sequence[SyncClip], features: SpeechFeatures, canonical: Tensor) -> None:
        self.clips = [clip for clip in clips if clip.offset is not None and len(clip.shapes) >= WINDOW]
        self.features = features
        frames: dict[str, int] = {}
        for clip in self.clips:
            person = clip.row["identity"]
            frames[person] = frames.get(person, 0) + len(clip.shapes)
        weight = np.array([
            len(clip.shapes) / frames[clip.row["identity"]] ** 0.5 * (1 if clip.filmed else GENERATED_WEIGHT)
            for clip in self.clips
        ])  # fmt: skip
        self.share = weight / weight.sum()
        mirrored = mirror_index(canonical).tolist()
        self.mirror = torch.tensor([MOUTH.index(mirrored[point]) for point in MOUTH])

    def batch(self, size: int, seed: int) -> tuple[Tensor, Tensor]:
        """`size` windows: shapes [B,L,P,2] and speech features [B,L,S], frame beside frame; seed and torch decide."""
        rng = np.random.default_rng(seed)
        shapes, log_mel, pitch, voices = [], [], [], []
        for number in rng.choice(len(self.clips), size, p=self.share):
            clip, other = self.clips[number], self.clips[rng.integers(len(self.clips))]
            first = int(rng.integers(0, len(clip.shapes) - WINDOW + 1))
            shapes.append(clip.shapes[first : first + WINDOW])
            mel, tone = speech_of(clip, first)
            log_mel.append(mel)
            pitch.append(tone)
            voices.append(speech_of(other, int(rng.integers(0, len(other.shapes) - WINDOW + 1)))[0])
        altered = alter_speech(torch.stack(log_mel), torch.stack(voices))
        return self.alter_lips(torch.stack(shapes)), self.mask(self.features.assemble(altered, torch.stack(pitch)))

    def alter_lips(self, shapes: Tensor) -> Tensor:
        """Shapes [B,L,P,2] mirrored, of another face, articulated more or less, with noise and repeated frames."""
        count = len(shapes)
        mirrored = (shapes * torch.tensor([-1.0, 1.0]))[:, :, self.mirror]
        shapes = torch.where(torch.rand(count, 1, 1, 1) < 0.5, mirrored, shapes)
        mean = shapes.mean(1, keepdim=True)
        middle = mean.mean(2, keepdim=True)
        strength = (0.15 * torch.randn(count, 1, 1, 1) + 0.1 * torch.randn(count, 1, 1, 2)).exp()
        proportions = (0.06 * torch.randn(count, 1, 1, 2)).exp()
        face = middle + proportions * (mean - middle) + SHAPE_NOISE * torch.randn(mean.shape)
        noise = torch.rand(count, 1, 1, 1) * LANDMARK_NOISE * landmark_noise(shapes - middle)
        return repeat_frames(face + strength * (shapes - mean) + noise)

    def mask(self, speech: Tensor) -> Tensor:
        """Hide a band of features [B,L,S], and now and then the pitch, in place (Park et al., "SpecAugment", 2019)."""
        n_mels = self.features.n_mels
        bands = speech[..., : n_mels * self.features.per_frame].unflatten(2, (-1, n_mels))  # a view
        for window, first in enumerate(torch.randint(0, n_mels - 16, (len(speech),)).tolist()):
            bands[window, ..., first : first + int(torch.randint(0, 16, ()))] = 0
        speech[torch.rand(len(speech)) < 0.3, :, n_mels * self.features.per_frame + 1 :] = 0
        return speech


def speech_of(clip: SyncClip, first: int) -> tuple[Tensor, Tensor]:
    """Log-mel [4L,M] and pitch [L,2] that belong to the window from frame `first`; silence beyond the clip's ends."""
    frames = torch.arange(first, first + WINDOW) + (clip.offset or 0)
    inside = (frames >= 0) & (frames < len(clip.shapes))
    frames = frames.clamp(0, len(clip.shapes) - 1)
    log_mel = clip.log_mel.unflatten(0, (-1, MEL_PER_FRAME))[frames]
    log_mel[~inside] = SILENCE
    return log_mel.flatten(0, 1), clip.pitch[frames] * inside[:, None]


def alter_speech(log_mel: Tensor, voices: Tensor) -> Tensor:
    """Log power [B,4L,M], and of other people's speech: colour, level, noise and voices, each drawn at random."""
    count, _, n_mels = log_mel.shape
    colour = F.interpolate(0.8 * torch.randn(count, 1, 6), size=n_mels, mode="linear", align_corners=True)
    log_mel = log_mel + colour + 0.6 * torch.randn(count, 1, 1)
    level = log_mel.exp().mean((1, 2), keepdim=True).log()
    tilt = 2 * torch.randn(count, 1, 1) * torch.linspace(-0.5, 0.5, n_mels)
    noise = level - torch.empty(count, 1, 1).uniform_(3, 15) + tilt + 0.5 * torch.randn_like(log_mel)
    log_mel = torch.where(torch.rand(count, 1, 1) < NOISE_SHARE, torch.logaddexp(log_mel, noise), log_mel)
    voices = voices + level - voices.exp().mean((1, 2), keepdim=True).log()
    voices = voices - torch.empty(count, 1, 1).uniform_(1.5, 6)  # 6 to 26 dB below
    log_mel = torch.where(torch.rand(count, 1, 1) < VOICES_SHARE, torch.logaddexp(log_mel, voices), log_mel)
    return log_mel.clamp(min=SILENCE)


def landmark_noise(shapes: Tensor) -> Tensor:
    """Noise like a face network's for shapes [B,L,P,2] about the mouth's middle, deviation about 1, correlated in time.

    The whole mouth moves, grows and shears, and every point moves by itself.
    """
    count, length, points, _ = shapes.shape
    whole = 0.6 * correlated(count, length, 3)
    around = shapes / MOUTH_RADIUS
    field = whole[:, :, :1] + around[..., :1] * whole[:, :, 1:2] + around[..., 1:] * whole[:, :, 2:]
    return field + 0.6 * correlated(count, length, points)


def correlated(count: int, length: int, points: int) -> Tensor:
    """First-order autoregressive noise [count,length,points,2], deviation 1, correlation of neighbours 0 to 0.9."""
    noise = torch.randn(length, count, points, 2)
    keep = 0.9 * torch.rand(count, 1, 1)
    fresh = (1 - keep.square()).sqrt()
    values = [noise[0]]
    for now in noise[1:]:
        values.append(keep * values[-1] + fresh * now)
    return torch.stack(values, 1)


def repeat_frames(shapes: Tensor) -> Tensor:
    """In some windows [B,L,P,2] some frames show the one before again, as videos of a low rate do."""
    count, length = shapes.shape[:2]
    dropped = torch.rand(count, length) < 0.4 * torch.rand(count, 1) * (torch.rand(count, 1) < REPEATED_SHARE)
    dropped[:, 0] = False
    source = torch.where(dropped, 0, torch.arange(length)).cummax(1).values
    return shapes[torch.arange(count)[:, None], source]
