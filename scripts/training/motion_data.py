"""Training examples for the motion generator: clips of codes and sound -> augmented windows.

A folder made by scripts.extract_features holds `clips.json` (manifest rows), `space.safetensors` (directions) and per
clip `ID.safetensors`: codes float32 [T,20], good uint8 [T], lips and eyes float32 [T] (openings of the labels), neutral
float32 [468,3] and sound int16 [N] at 16 kHz. Sound is altered as sound, so features are taken here, in 3 ms per clip.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.signal import lfilter
from torch import Tensor

from anitalker.config import FPS, POSE_SIZE, InputError
from encoders import audio
from encoders.audio import SAMPLES_PER_FRAME
from encoders.speech import SpeechFeatures

PAST = 2 * FPS  # frames of sound before a window, for the running mean of its features
LEAVE = 8  # frames in which a motion leaves a portrait's own expression
FALL, RISE = 6, 4  # frames in which lips close before an inserted silence and open after it


class Segment(NamedTuple):
    """sound float32 [640 T], -1..1; codes float32 [T,20]; good bool [T]."""

    sound: np.ndarray
    codes: np.ndarray
    good: np.ndarray

    def join(self, *others: Segment) -> Segment:
        """This segment and others after it."""
        return Segment(*map(np.concatenate, zip(self, *others, strict=True)))

    def cut(self, first: int, end: int | None = None) -> Segment:
        """Frames first to end."""
        frames = slice(first, end)
        samples = slice(first * SAMPLES_PER_FRAME, None if end is None else end * SAMPLES_PER_FRAME)
        return Segment(self.sound[samples], self.codes[frames], self.good[frames])


@dataclass
class MotionClip:
    """One clip of a folder made by scripts.extract_features."""

    row: dict
    codes: np.ndarray  # float32 [T,20]
    good: np.ndarray  # bool [T]
    sound: np.ndarray  # float32 [640 T], -1..1
    lips: np.ndarray  # float32 [T]
    eyes: np.ndarray
    neutral: np.ndarray  # float32 [468,3]
    unrelated: bool = False  # its sound turned out to say nothing about its lips

    @property
    def speaks(self) -> bool:
        """The speaker is in the picture, so the sound says what the lips do."""
        return self.row["speaking_visible"] == "yes" and self.row["has_audio"] == "yes" and not self.unrelated

    @property
    def segment(self) -> Segment:
        """All of it."""
        return Segment(self.sound, self.codes, self.good)

    @property
    def weight(self) -> float:
        """How often it is drawn: one man fills half of the data; other systems' output moves less truly than people."""
        if self.row["shard"].startswith("grid"):
            return 0.5
        return 4.0 if self.speaks and self.row["generated"] == "no" else 2.0 if self.speaks else 0.5

    def shift(self, frames: float) -> None:
        """Bring sound that is `frames` late (negative: early) back to its lips; what has no partner is cut off."""
        samples = round(abs(frames) * SAMPLES_PER_FRAME)
        late, lost = frames > 0, -(-samples // SAMPLES_PER_FRAME)
        keep = slice(0, len(self.codes) - lost) if late else slice(lost, None)
        first = samples if late else lost * SAMPLES_PER_FRAME - samples
        self.codes, self.good, self.lips, self.eyes = (x[keep] for x in (self.codes, self.good, self.lips, self.eyes))
        self.sound = self.sound[first : first + len(self.codes) * SAMPLES_PER_FRAME]


def load_motion(folder: str | Path, split: str) -> list[MotionClip]:
    """All clips of one split."""
    folder = Path(folder)
    if not (folder / "clips.json").is_file():
        raise InputError(f"no clips.json in {folder}; run python -m scripts.extract_features --data DIR --out {folder}")
    clips = []
    for row in json.loads((folder / "clips.json").read_text()):
        if row["split"] == split:
            stored = {name: tensor.numpy() for name, tensor in load_file(folder / f"{row['id']}.safetensors").items()}
            sound, length = stored["sound"].astype(np.float32) / 32768, len(stored["codes"]) * SAMPLES_PER_FRAME
            sound = np.pad(sound[:length], (0, max(0, length - len(sound))))
            lips, eyes, neutral = (stored[name] for name in ("lips", "eyes", "neutral"))
            clips.append(MotionClip(row, stored["codes"], stored["good"] > 0, sound, lips, eyes, neutral))
    return clips


class MotionExamples:
    """Draws batches of augmented windows.

    clips; features, the speech features; spoken [20,20], projection of raw codes onto what speech decides.
    """

    def __init__(self, clips: list[MotionClip], features: SpeechFeatures, spoken: np.ndarray) -> None:
        self.clips, self.features, self.spoken = clips, features, spoken.astype(np.float32)
        self.rng = np.random.default_rng(0)
        weights = np.array([clip.weight * len(clip.codes) ** 0.5 for clip in clips])
        self.share = weights / weights.sum()

    def batch(self, size: int, before: int, frames: int, seed: int) -> dict[str, Tensor]:
        """`size` windows of p = `before` frames before and n = `frames` to make; a seed repeats them.

        speech [B,p+n,S], motion [B,p+n,20], start [B,20], good [B,p+n] and deaf [B] bool. With p = 1 the frame before
        is a portrait: its expression is anybody's, and the motion leaves it within LEAVE frames.
        """
        self.rng = np.random.default_rng(seed)
        examples = [self.example(before, frames) for _ in range(size)]
        # One by one: a batch of spectra would not stay in the processor's cache.
        speech = [self.mask(self.features(torch.from_numpy(e.pop("sound")))[PAST:]) for e in examples]
        stacked = {key: torch.from_numpy(np.stack([example[key] for example in examples])) for key in examples[0]}
        return stacked | {"speech": torch.stack(speech)}

    def mask(self, speech: Tensor) -> Tensor:
        """Hide some bands and some frames of features [L,S], in place (Park et al., "SpecAugment", 2019)."""
        n_mels, rng = self.features.n_mels, self.rng
        bands = speech[:, : n_mels * self.features.per_frame].unflatten(1, (-1, n_mels))  # a view
        if rng.random() < 0.5:
            width = int(rng.integers(4, 16))
            first = int(rng.integers(0, n_mels - width))
            bands[:, :, first : first + width] = 0
        if rng.random() < 0.4:
            first = int(rng.integers(0, len(speech)))
            speech[first : first + int(rng.integers(1, 6))] = 0
        return speech

    def example(self, before: int, frames: int) -> dict[str, np.ndarray]:
        """One window: its sound with PAST frames before it, and what `batch` stacks."""
        rng, length = self.rng, before + frames
        clip = self.clips[rng.choice(len(self.clips), p=self.share)]
        segment = self.sequence(clip, length)
        first = int(rng.integers(0, len(segment.codes) - length + 1))
        if before == 1 and clip.speaks and rng.random() < 0.35:  # a portrait, whatever its mouth, in silence
            segment = self.silence(segment, int(rng.integers(20, 90)), at=0)
            first = int(rng.integers(0, 10))
        window = segment.cut(first, first + length)
        sound = segment.cut(max(0, first - PAST), first + length).sound
        sound = np.pad(sound, (max(0, PAST - first) * SAMPLES_PER_FRAME, 0))
        motion = window.codes.copy()
        start = self._start(clip, motion, before)
        deaf, sound = np.bool_(not clip.speaks), self.augment(sound).astype(np.float32)
        return {"sound": sound, "motion": motion, "start": start, "good": window.good, "deaf": deaf}

    def _start(self, clip: MotionClip, motion: np.ndarray, before: int) -> np.ndarray:
        """The portrait's code; with one frame before, `motion` is changed in place to begin at it."""
        rng = self.rng
        start = clip.codes[rng.integers(len(clip.codes))].copy()
        if rng.random() < 0.4:  # somebody else's expression, so that it is not taken for this person's manner
            other = self.clips[rng.integers(len(self.clips))]
            start[POSE_SIZE:] = other.codes[rng.integers(len(other.codes)), POSE_SIZE:] * rng.uniform(0.5, 1.5)
        if before == 1:
            start[:POSE_SIZE] = motion[0, :POSE_SIZE]
            ramp = smoothstep(np.arange(len(motion)) / LEAVE)
            motion[:, POSE_SIZE:] = start[POSE_SIZE:] + ramp * (motion[:, POSE_SIZE:] - start[POSE_SIZE:])
        return start.astype(np.float32)

    def sequence(self, clip: MotionClip, least: int) -> Segment:
        """A clip at another speed, silences put in, and more of the same person up to `least` frames."""
        rng, segment = self.rng, clip.segment
        if clip.speaks and rng.random() < 0.6:
            segment = play_faster(segment, rng.uniform(0.87, 1.15))
        if clip.speaks and rng.random() < 0.35:
            segment = self.silence(segment, int(rng.integers(10, 80)))
        while len(segment.codes) < least:
            identity = clip.row["identity"]
            same = [c for c in self.clips if c.row["identity"] == identity and c.speaks] if clip.speaks else [clip]
            more, gap = same[rng.integers(len(same))], int(rng.integers(10, 30)) if clip.speaks else 20
            segment = self.silence(segment.join(more.segment), gap, at=len(segment.codes))
        return segment

    def silence(self, segment: Segment, frames: int, at: int | None = None) -> Segment:
        """Put `frames` of silence before frame `at`: lips closed, head all but still, blinks.

        at None: the beginning, the end, or somewhere quiet.
        """
        rng, codes, length = self.rng, segment.codes, len(segment.codes)
        if at is None:
            places = rng.integers(0, length + 1, 8)
            loudness = [np.square(segment.cut(max(0, i - 1), i + 1).sound).sum() for i in places]
            at = [0, length, int(places[int(np.argmin(loudness))])][rng.choice(3, p=[0.3, 0.2, 0.5])]
        left, right = codes[at - 1 if at > 0 else 0], codes[at if at < length else -1]
        idle = left + smoothstep(np.linspace(0, 1, frames)) * (right - left)
        # Lids and brows of some other moment (with its blinks), faded in and out.
        begin = rng.integers(0, max(1, length - frames))
        life = codes[begin : begin + frames]
        life = np.pad(life, ((0, frames - len(life)), (0, 0)), mode="reflect" if len(life) > 1 else "edge")
        now = np.arange(frames)
        fade = np.minimum(1, np.minimum(now, now[::-1]) / 4)[:, None].astype(np.float32)
        lids = (life - life.mean(0)) @ (np.eye(20, dtype=np.float32) - self.spoken)
        lids[:, :POSE_SIZE] *= 0.3 * np.hanning(frames + 2)[1:-1, None]
        idle = idle + lids * fade
        closing = (now + 1) / FALL if at > 0 else np.ones(frames)
        opening = now[::-1] / RISE if at < length else np.ones(frames)
        idle = idle - smoothstep(np.minimum(closing, opening)) * (idle @ self.spoken)
        hush = np.zeros(frames * SAMPLES_PER_FRAME, np.float32)
        if rng.random() < 0.4:
            hush = rng.standard_normal(len(hush)).astype(np.float32) * 10 ** (rng.uniform(-85, -55) / 20)
        return segment.cut(0, at).join(Segment(hush, idle.astype(np.float32), np.ones(frames, bool)), segment.cut(at))

    def augment(self, sound: np.ndarray) -> np.ndarray:
        """Level, equaliser, echo and noise of [N] samples, each drawn at random."""
        rng = self.rng
        sound = audio.normalise_level(torch.from_numpy(np.ascontiguousarray(sound))).numpy()
        size = 1 << (len(sound) + 8000 - 1).bit_length()
        if rng.random() < 0.5:  # a smooth curve over frequency, and perhaps a decaying echo, in one product
            spectrum = np.fft.rfft(sound, size)
            knots = rng.uniform(-8, 8, 6)
            decibels = np.interp(np.linspace(0, 5, len(spectrum)) ** 0.5 * 5**0.5, np.arange(6), knots)
            spectrum *= 10 ** (decibels / 20)
            if rng.random() < 0.4:
                tail = int(rng.uniform(0.05, 0.4) * audio.SAMPLE_RATE)
                echo = rng.standard_normal(tail) * np.exp(-6.9 * np.arange(tail) / tail) * rng.uniform(0.02, 0.12)
                echo[0] = 1
                spectrum *= np.fft.rfft(echo, size)
            sound = np.fft.irfft(spectrum, size)[: len(sound)]
        sound = sound * 10 ** (rng.uniform(-7, 5) / 20)
        if rng.random() < 0.4:
            noise = rng.standard_normal(len(sound))
            if rng.random() < 0.5:  # brown rather than white
                noise = lfilter([0.3], [1, -0.95], noise)
            sound = sound + noise * 10 ** (rng.uniform(-75, -42) / 20)
        return sound


def smoothstep(x: np.ndarray) -> np.ndarray:
    """[n] clamped to 0..1 -> float32 [n,1], 0..1, with slope 0 at both ends."""
    x = np.clip(x, 0, 1).astype(np.float32)[:, None]
    return x * x * (3 - 2 * x)


def play_faster(segment: Segment, factor: float) -> Segment:
    """Play `factor` times as fast, voice and all."""
    frames = int(len(segment.codes) / factor)
    position = np.arange(frames) * factor
    low = np.minimum(position.astype(int), len(segment.codes) - 2)
    share = (position - low)[:, None].astype(np.float32)
    codes = segment.codes[low] * (1 - share) + segment.codes[low + 1] * share
    samples = np.arange(frames * SAMPLES_PER_FRAME) * factor
    sound = np.interp(samples, np.arange(len(segment.sound)), segment.sound).astype(np.float32)
    return Segment(sound, codes, segment.good[low] & segment.good[low + 1])
