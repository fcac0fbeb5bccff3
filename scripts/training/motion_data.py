"""Training examples for the motion generator: clips of codes and sound -> augmented windows.

A folder made by scripts.extract_features holds `clips.json` (manifest rows), `space.safetensors` (directions) and per
clip `ID.safetensors`: codes float32 [T,20], good uint8 [T], lips and eyes float32 [T] (openings of the labels), neutral
float32 [468,3] (zeros: not known) and sound int16 [N] at 16 kHz. Sound is altered as sound, so features are taken
here, in 3 ms per clip.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.interpolate import interp1d
from torch import Tensor

from anitalker.config import FPS, POSE_SIZE, InputError
from anitalker.faces.landmarks import eye_opening
from encoders import audio
from encoders.audio import SAMPLES_PER_FRAME
from encoders.speech import SpeechFeatures
from scripts.training.sound_augment import SoundAugment

PAST = 2 * FPS  # frames of sound before a window, for the running mean of its features
LEAVE = 8  # frames in which a motion leaves a portrait's own expression
SOUND_AUGMENT = SoundAugment()
SYNC = 0.5  # usual correlation of lips with what a regression hears in the sound, the manifest's `sync_r`
FACE_SIZE = 100  # pixels from forehead to chin in the source, under which labels are less sure
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
        """How often it is drawn: one man fills half of the data; other systems' output moves less truly than people.

        Clips without pictures count by how well lips and sound go together, and by the size of the face.
        """
        if self.row["shard"].startswith("grid"):
            return 0.5
        sure = 1.0
        if "sync_r" in self.row:
            sync, size = float(self.row["sync_r"] or SYNC), float(self.row.get("face_px_in_source") or FACE_SIZE)
            sure = min(max(sync / SYNC, 0.6), 1.4) * min(1.0, size / FACE_SIZE)
        return sure * (4.0 if self.speaks and self.row["generated"] == "no" else 2.0 if self.speaks else 0.5)

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

    clips; features, the speech features; spoken [20,20], projection of raw codes onto what speech decides; augment: how
    the sound is changed.
    """

    def __init__(
        self,
        clips: list[MotionClip],
        features: SpeechFeatures,
        spoken: np.ndarray,
        augment: SoundAugment = SOUND_AUGMENT,
    ) -> None:
        self.clips, self.features, self.spoken = clips, features, spoken.astype(np.float32)
        self.change_sound = augment
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
        """Hide a band and some frames of features [L,S], in place (Park et al., "SpecAugment", 2019)."""
        n_mels, rng = self.features.n_mels, self.rng
        bands = speech[:, : n_mels * self.features.per_frame].unflatten(1, (-1, n_mels))  # a view
        first, frame = int(rng.integers(0, n_mels - 16)), int(rng.integers(0, len(speech)))
        bands[:, :, first : first + int(rng.integers(0, 16))] = 0
        speech[frame : frame + int(rng.integers(0, 6))] = 0
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
        begin, now = rng.integers(0, max(1, length - frames)), np.arange(frames)
        life = codes[begin : begin + frames]
        life = np.pad(life, ((0, frames - len(life)), (0, 0)), mode="reflect")
        lids = (life - life.mean(0)) @ (np.eye(20, dtype=np.float32) - self.spoken)
        lids[:, :POSE_SIZE] *= 0.3
        idle = idle + lids * np.hanning(frames + 2)[1:-1, None]
        closing = (now + 1) / FALL if at > 0 else np.ones(frames)
        opening = now[::-1] / RISE if at < length else np.ones(frames)
        idle = idle - smoothstep(np.minimum(closing, opening)) * (idle @ self.spoken)
        hush = np.zeros(frames * SAMPLES_PER_FRAME, np.float32)
        if rng.random() < 0.4:
            hush = rng.standard_normal(len(hush)).astype(np.float32) * 10 ** (rng.uniform(-85, -55) / 20)
        return segment.cut(0, at).join(Segment(hush, idle.astype(np.float32), np.ones(frames, bool)), segment.cut(at))

    def augment(self, sound: np.ndarray) -> np.ndarray:
        """Samples [N] at the level of the features, heard through another microphone or room."""
        sound = audio.normalise_level(torch.from_numpy(np.ascontiguousarray(sound))).numpy()
        return self.change_sound(sound, self.rng)


def smoothstep(x: np.ndarray) -> np.ndarray:
    """[n] clamped to 0..1 -> float32 [n,1], 0..1, with slope 0 at both ends."""
    x = np.clip(x, 0, 1).astype(np.float32)[:, None]
    return x * x * (3 - 2 * x)


def play_faster(segment: Segment, factor: float) -> Segment:
    """Play `factor` times as fast, voice and all."""
    frames = int(len(segment.codes) / factor)
    samples, position = np.arange(frames * SAMPLES_PER_FRAME) * factor, np.arange(frames) * factor
    position = position.clip(max=len(segment.codes) - 1)
    sound = np.interp(samples, np.arange(len(segment.sound)), segment.sound).astype(np.float32)
    codes = interp1d(np.arange(len(segment.codes)), segment.codes, axis=0)(position).astype(np.float32)
    return Segment(sound, codes, segment.good[position.astype(int)])


@dataclass(frozen=True)
class Space:
    """What the codes mean, measured on the training clips.

    directions [14,468,3]; mean, std [20] of motion relative to a portrait; opening [14], linear readout of the lip
    opening; spoken [20,20], projection of codes onto what speech decides; spoken_normalised, for normalised motion.
    """

    directions: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    opening: np.ndarray
    spoken: np.ndarray
    spoken_normalised: np.ndarray


def measure(folder: str | Path, clips: list[MotionClip]) -> Space:
    """Statistics of the training clips."""
    directions = load_file(Path(folder) / "space.safetensors")["directions"].numpy()
    rng = np.random.default_rng(0)
    weight = np.concatenate([clip.weight / 4 * clip.good for clip in clips])[:, None]
    relative = [clip.codes[:, :POSE_SIZE] - clip.codes[rng.integers(len(clip.codes)), :POSE_SIZE] for clip in clips]
    pose = np.sqrt((np.concatenate(relative) ** 2 * weight).sum(0) / weight.sum())
    expression = np.concatenate([clip.codes[:, POSE_SIZE:] for clip in clips])
    mean = (expression * weight).sum(0) / weight.sum()
    spread = np.sqrt(((expression - mean) ** 2 * weight).sum(0) / weight.sum())
    centred = np.concatenate([clip.codes[:, POSE_SIZE:] - clip.codes[:, POSE_SIZE:].mean(0) for clip in clips])
    lips = np.concatenate([clip.lips - clip.lips.mean() for clip in clips])
    eyes = np.concatenate([clip.eyes - clip.eyes.mean() for clip in clips])
    gram = centred.T @ (centred * weight)
    opening = np.linalg.solve(gram + 1e-3 * np.trace(gram) / 14 * np.eye(14), centred.T @ (lips * weight[:, 0]))
    # How lids move together, without what would open the lips.
    lids = centred.T @ (eyes * weight[:, 0])
    lids = lids - opening * (opening @ lids) / (opening @ opening)
    mean, std = np.concatenate([np.zeros(POSE_SIZE), mean]), np.concatenate([pose, spread])
    return Space(directions, mean, std, opening, _all_but(lids), _all_but(lids / spread))


def blink_course(clips: list[MotionClip], directions: np.ndarray, before: int = 5, after: int = 8) -> np.ndarray:
    """The median course of a blink [before + 1 + after,20], scaled until it all but closes the mean face's eyes.

    A blink: at most 9 frames under two thirds of the clip's usual lid opening. Labels at 25 fps seldom catch the lids
    shut. Empty where the clips show fewer than 8.
    """
    courses = []
    for clip in (clip for clip in clips if clip.row["generated"] == "no" and clip.neutral.any()):
        shut = clip.eyes < np.median(clip.eyes) / 1.5
        edges = np.flatnonzero(np.diff(np.pad(shut.astype(int), 1)))
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            deepest = begin + int(np.argmin(clip.eyes[begin:end]))
            if end - begin <= 9 and deepest >= before and deepest + after < len(clip.codes):
                course = clip.codes[deepest - before : deepest + after + 1]
                ramp = np.linspace(0, 1, len(course))[:, None]
                courses.append(course - course[0] - ramp * (course[-1] - course[0]))
    if len(courses) < 8:
        return np.zeros((0, 20))
    course = np.median(courses, 0)
    course[:, :POSE_SIZE] = 0
    face = np.mean([clip.neutral for clip in clips if clip.neutral.any()], 0)
    deepest = np.einsum("k,knc->nc", course[before, POSE_SIZE:], directions)
    strengths = np.linspace(1, 4, 61)
    left = [float(eye_opening(face + strength * deepest)) for strength in strengths]
    return course * strengths[int(np.argmin(left))]


def _all_but(direction: np.ndarray) -> np.ndarray:
    """Projection [20,20] onto the expression numbers but for one direction [14]."""
    unit = direction / np.linalg.norm(direction)
    projection = np.zeros((POSE_SIZE + len(unit),) * 2)
    projection[POSE_SIZE:, POSE_SIZE:] = np.eye(len(unit)) - np.outer(unit, unit)
    return projection
