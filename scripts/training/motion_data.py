"""Training examples for the motion generator: clips of codes and sound -> augmented windows.

A folder made by scripts.extract_features holds `clips.json` (manifest rows), `space.safetensors` (directions) and per
clip `ID.safetensors`: codes float32 [T,20], good uint8 [T], lips and eyes float32 [T] (openings of the labels), neutral
float32 [468,3] and sound int16 [N] at 16 kHz. Sound is altered as sound, so features are taken here, in 3 ms per clip.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.signal import lfilter
from torch import Tensor

from anitalker.config import FPS, POSE_SIZE, InputError
from encoders import audio
from encoders.speech import SpeechFeatures

LEAVE = 8  # frames in which a motion leaves a portrait's own expression
FALL, RISE = 6, 4  # frames in which lips close before an inserted silence and open after it


@dataclass
class MotionClip:
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
    def weight(self) -> float:
        """How often it is drawn: one man fills half of the data; other systems' output moves less truly than people."""
        if self.row["shard"].startswith("grid"):
            return 0.5
        return 4.0 if self.speaks and self.row["generated"] == "no" else 2.0 if self.speaks else 0.5

    def shift(self, frames: float) -> None:
        """Bring sound that is `frames` late (negative: early) back to its lips; what has no partner is cut off."""
        samples = round(abs(frames) * audio.SAMPLES_PER_FRAME)
        late, drop = frames > 0, -(-samples // audio.SAMPLES_PER_FRAME)
        keep = slice(0, len(self.codes) - drop) if late else slice(drop, None)
        first = samples if late else drop * audio.SAMPLES_PER_FRAME - samples
        self.codes, self.good, self.lips, self.eyes = (x[keep] for x in (self.codes, self.good, self.lips, self.eyes))
        self.sound = self.sound[first : first + len(self.codes) * audio.SAMPLES_PER_FRAME]


def load_motion(folder: str | Path, split: str) -> list[MotionClip]:
    """All clips of one split."""
    folder = Path(folder)
    if not (folder / "clips.json").is_file():
        raise InputError(
            f"no clips.json in {folder}; run python -m scripts.extract_features --data DIR --output {folder}"
        )
    clips = []
    for row in json.loads((folder / "clips.json").read_text()):
        if row["split"] != split:
            continue
        stored = {name: tensor.numpy() for name, tensor in load_file(folder / f"{row['id']}.safetensors").items()}
        sound = stored["sound"].astype(np.float32) / 32768
        length = len(stored["codes"]) * audio.SAMPLES_PER_FRAME
        sound = np.pad(sound[:length], (0, max(0, length - len(sound))))
        clips.append(
            MotionClip(
                row, stored["codes"], stored["good"] > 0, sound, stored["lips"], stored["eyes"], stored["neutral"]
            )
        )
    return clips


class MotionExamples:
    """Draws batches of augmented windows.

    clips; features, the speech features; spoken [20,20], projection of raw codes onto what speech decides; seed.
    """

    def __init__(self, clips: list[MotionClip], features: SpeechFeatures, spoken: np.ndarray, seed: int) -> None:
        self.clips, self.features, self.spoken = clips, features, spoken.astype(np.float32)
        self.rng = np.random.default_rng(seed)
        weights = np.array([clip.weight * len(clip.codes) ** 0.5 for clip in clips])
        self.share = weights / weights.sum()

    def reseed(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def batch(self, size: int, p: int, n: int) -> dict[str, Tensor]:
        """`size` windows of p frames before and n to make.

        speech [B,p+n,S], motion [B,p+n,20], start [B,20], good [B,p+n] and deaf [B] bool. With p = 1 the frame before
        is a portrait: its expression is anybody's, and the motion leaves it within LEAVE frames.
        """
        examples = [self.example(p, n) for _ in range(size)]
        stack = {key: torch.from_numpy(np.stack([e[key] for e in examples])) for key in examples[0] if key != "sound"}
        # One by one: a batch of spectra would not stay in the processor's cache. The past is for the running mean.
        speech = [self.mask(self.features(torch.from_numpy(e["sound"]))[-(p + n) :]) for e in examples]
        stack["speech"] = torch.stack(speech)
        return stack

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

    def example(self, p: int, n: int) -> dict[str, np.ndarray]:
        rng, need = self.rng, p + n
        clip = self.clips[rng.choice(len(self.clips), p=self.share)]
        past = FPS * 2
        sound, codes, good = self.sequence(clip, need)
        first = rng.integers(0, len(codes) - need + 1)
        if p == 1 and clip.speaks and rng.random() < 0.35:  # a portrait, whatever its mouth, in silence
            sound, codes, good = self.silence(sound, codes, good, int(rng.integers(20, 90)), at=0)
            first = int(rng.integers(0, 10))
        before = max(0, first - past)
        piece = sound[before * audio.SAMPLES_PER_FRAME : (first + need) * audio.SAMPLES_PER_FRAME]
        piece = np.pad(piece, ((past - first + before) * audio.SAMPLES_PER_FRAME, 0))
        motion = codes[first : first + need].copy()
        start = self._start(clip, motion, p)
        return {
            "sound": self.augment(piece).astype(np.float32),
            "motion": motion,
            "start": start,
            "good": good[first : first + need],
            "deaf": np.bool_(not clip.speaks),
        }

    def _start(self, clip: MotionClip, motion: np.ndarray, p: int) -> np.ndarray:
        """The portrait's code; with p = 1 `motion` is changed in place to begin at it."""
        rng = self.rng
        start = clip.codes[rng.integers(len(clip.codes))].copy()
        if rng.random() < 0.4:  # somebody else's expression, so that it is not taken for this person's manner
            other = self.clips[rng.integers(len(self.clips))]
            start[POSE_SIZE:] = other.codes[rng.integers(len(other.codes)), POSE_SIZE:] * rng.uniform(0.5, 1.5)
        if p == 1:
            start[:POSE_SIZE] = motion[0, :POSE_SIZE]
            ramp = np.clip(np.arange(len(motion)) / LEAVE, 0, 1)[:, None]
            ramp = (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
            motion[:, POSE_SIZE:] = start[POSE_SIZE:] + ramp * (motion[:, POSE_SIZE:] - start[POSE_SIZE:])
        return start.astype(np.float32)

    def sequence(self, clip: MotionClip, need: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sound, codes and good flags of at least `need` frames.

        The clip at another speed, silences put in, and more of the same person where it is too short.
        """
        rng = self.rng
        sound, codes, good = clip.sound, clip.codes, clip.good
        if clip.speaks and rng.random() < 0.6:
            sound, codes, good = _faster(sound, codes, good, rng.uniform(0.87, 1.15))
        if clip.speaks and rng.random() < 0.35:
            sound, codes, good = self.silence(sound, codes, good, int(rng.integers(10, 80)))
        while len(codes) < need:
            same = (
                [c for c in self.clips if c.row["identity"] == clip.row["identity"] and c.speaks] if clip.speaks else []
            )
            more = same[rng.integers(len(same))] if same else clip
            gap = int(rng.integers(10, 30)) if clip.speaks else 20
            joined = [np.concatenate(pair) for pair in ((sound, more.sound), (codes, more.codes), (good, more.good))]
            sound, codes, good = self.silence(*joined, gap, at=len(codes))
        return sound, codes, good

    def silence(
        self, sound: np.ndarray, codes: np.ndarray, good: np.ndarray, frames: int, at: int | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Put `frames` of silence before frame `at`: lips closed, head all but still, blinks.

        at None: the beginning, the end, or somewhere quiet.
        """
        rng = self.rng
        if at is None:
            places = rng.integers(0, len(codes) + 1, 8)
            loud = [np.square(sound[max(0, i - 1) * 640 : (i + 1) * 640]).sum() for i in places]
            at = [0, len(codes), int(places[int(np.argmin(loud))])][rng.choice(3, p=[0.3, 0.2, 0.5])]
        left, right = codes[max(0, at - 1)], codes[min(at, len(codes) - 1)]
        t = np.linspace(0, 1, frames, dtype=np.float32)[:, None]
        t = t * t * (3 - 2 * t)
        idle = left + t * (right - left)
        if at == 0:
            idle = np.repeat(right[None], frames, 0)
        elif at == len(codes):
            idle = np.repeat(left[None], frames, 0)
        idle = idle.copy()
        # Lids and brows of some other moment (with its blinks), faded in and out.
        begin = rng.integers(0, max(1, len(codes) - frames))
        life = codes[begin : begin + frames]
        life = np.pad(life, ((0, frames - len(life)), (0, 0)), mode="reflect" if len(life) > 1 else "edge")
        fade = np.minimum(1, np.minimum(np.arange(frames), np.arange(frames)[::-1]) / 4)[:, None].astype(np.float32)
        lids = (life - life.mean(0)) @ (np.eye(20, dtype=np.float32) - self.spoken)
        lids[:, :POSE_SIZE] *= 0.3 * np.hanning(frames + 2)[1:-1, None]
        idle += lids * fade
        shut = np.ones(frames, np.float32)
        now = np.arange(frames)
        if at > 0:
            shut = np.minimum(shut, np.clip((now + 1) / FALL, 0, 1))
        if at < len(codes):
            shut = np.minimum(shut, np.clip(now[::-1] / RISE, 0, 1))
        shut = (shut * shut * (3 - 2 * shut))[:, None]
        idle -= shut * (idle @ self.spoken)
        hush = np.zeros(frames * audio.SAMPLES_PER_FRAME, np.float32)
        if rng.random() < 0.4:
            hush = rng.standard_normal(len(hush)).astype(np.float32) * 10 ** (rng.uniform(-85, -55) / 20)
        cut = at * audio.SAMPLES_PER_FRAME
        sound = np.concatenate([sound[:cut], hush, sound[cut:]])
        codes = np.concatenate([codes[:at], idle.astype(np.float32), codes[at:]])
        good = np.concatenate([good[:at], np.ones(frames, bool), good[at:]])
        return sound, codes, good

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


def _faster(
    sound: np.ndarray, codes: np.ndarray, good: np.ndarray, factor: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Play `factor` times as fast, voice and all."""
    frames = int(len(codes) / factor)
    at = np.arange(frames) * factor
    low = np.minimum(at.astype(int), len(codes) - 2)
    part = (at - low)[:, None].astype(np.float32)
    moved = codes[low] * (1 - part) + codes[low + 1] * part
    samples = np.arange(frames * audio.SAMPLES_PER_FRAME) * factor
    return np.interp(samples, np.arange(len(sound)), sound).astype(np.float32), moved, good[low] & good[low + 1]
