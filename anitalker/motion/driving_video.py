"""A driving video -> motion codes and an identity code, read from the pixels of crops that follow the face.

Letters: T frames, M motion numbers, D width of an identity code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from anitalker.config import FPS
from anitalker.faces.landmarks import OneEuro
from anitalker.motion.following_crop import DrivingFrame
from anitalker.runtime.smoothstep import smoothstep

BATCH_SIZE = 16  # crops encoded at once
# One-Euro filter: calm at rest, without lag behind a moving head (worth 0.4 dB in the face).
DRIVING_FILTER = {"cutoff": 5.0, "beta": 80.0}
BRIDGE = 12  # frames without a face over which motion passes from the last one to the next; longer gaps have a rest
EASE = 8  # frames in which motion goes to rest and comes back
TIMES_TOLD = 5  # stretches without a face that a warning names
CUT_EASE = 5  # frames after a cut in which motion leaves what it was before
# Crops uint8 [B,256,256,3] -> motion codes [B,M] and identity codes [B,D].
CodeReader = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class DrivingMotion:
    """What a driving video shows: motion codes float32 [T,M], 0 where `seen`, bool [T], is False; the mean identity
    code [D], of unit length; shots, int [T]: the number of the shot of each frame. At least one frame shows a face.
    """

    motion: np.ndarray
    identity: np.ndarray
    seen: np.ndarray
    shots: np.ndarray

    def relative(self, start: np.ndarray, usual: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """The motion [T,M] of a portrait with code `start` [M].

        usual: the lowest and the highest usual values [P] of the leading numbers, the pose. They are the portrait's
        own, moved as they differ from the first face of their shot. Of a shot that begins with a head turned away,
        only the usual turn counts: when that head turns to the front, the portrait must not turn away instead. The
        other numbers, the expression, are the video's own: they are relative to a neutral face already.
        """
        motion, size = self.motion.copy(), len(usual[0])
        own = start[:size]
        low, high = np.minimum(usual[0], own), np.maximum(usual[1], own)
        for shot in np.unique(self.shots[self.seen]):
            first = self.motion[self.seen & (self.shots == shot)][0, :size]
            motion[self.shots == shot, :size] += own - first.clip(low, high)
        return self.bridged(motion, start)

    def absolute(self, rest: np.ndarray | None = None) -> np.ndarray:
        """The video's own codes [T,M]; rest [M]: of long gaps, None: they pass from face to face."""
        return self.bridged(self.motion, rest)

    def bridged(self, motion: np.ndarray, rest: np.ndarray | None) -> np.ndarray:
        """Motion [T,M] with the frames filled where no face was seen, and eased where a new shot begins.

        Gaps of up to BRIDGE frames pass from the last code to the next one. In longer ones, and before the first face
        and after the last one, motion goes to `rest` [M] within EASE frames. A rest of None holds the codes instead.
        """
        filled = motion.copy()
        known = np.flatnonzero(self.seen)
        gaps = [(-1, known[0]), *pairwise(known), (known[-1], len(motion))]
        for before, after in gaps:
            frames = np.arange(before + 1, after)
            first = motion[before] if before >= 0 else None
            last = motion[after] if after < len(motion) else None
            filled[frames] = _bridge(first, last, len(frames), rest)
        for cut in np.flatnonzero(np.diff(self.shots)) + 1:
            if self.seen[cut] and self.seen[cut - 1]:
                weight = smoothstep(1 - np.arange(1, CUT_EASE + 1) / (CUT_EASE + 1))[: len(motion) - cut, None]
                filled[cut : cut + CUT_EASE] += weight * (motion[cut - 1] - motion[cut])
        return filled.astype(np.float32)


def lost_frames_warning(lost: np.ndarray) -> str | None:
    """A sentence that counts the frames, bool [T], without a trustworthy face and says when they are; None if none."""
    frames = np.flatnonzero(lost)
    if not len(frames):
        return None
    runs = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    times = [f"{run[0] / FPS:.1f} to {(run[-1] + 1) / FPS:.1f} s" for run in runs[:TIMES_TOLD]]
    more = f" and {len(runs) - TIMES_TOLD} more times" if len(runs) > TIMES_TOLD else ""
    return (
        f"{len(frames)} of {len(lost)} frames of the driving video without a trustworthy face: held "
        f"({', '.join(times)}{more})"
    )


def _bridge(first: np.ndarray | None, last: np.ndarray | None, count: int, rest: np.ndarray | None) -> np.ndarray:
    """Codes [count,M] between two faces; None: there is none on that side."""
    if first is not None and last is not None and (count <= BRIDGE or rest is None):
        weight = smoothstep(np.arange(1, count + 1) / (count + 1))[:, None]
        return (1 - weight) * first + weight * last
    if rest is None:
        only = last if first is None else first
        assert only is not None  # at least one frame shows a face
        return np.repeat(only[None], count, 0)
    leaving = smoothstep(1 - np.arange(1, count + 1) / (EASE + 1))[:, None]
    bridge = np.repeat(rest[None], count, 0)
    if first is not None:
        bridge = bridge + leaving * (first - rest)
    if last is not None:
        bridge = bridge + leaving[::-1] * (last - rest)
    return bridge


def read_codes(
    read: CodeReader,
    frames: Iterable[DrivingFrame],
    total: int,
    progress: Callable[[str, int, int], None] | None = None,
    smoothing: dict[str, float] | None = None,
) -> DrivingMotion:
    """Read the motion and identity codes of T frames; those without a crop are not read.

    total: the expected T, for progress("encode", done, total). smoothing: settings of the OneEuro filter that the
    motion codes pass, from the start of each shot and of each stretch with a face; None: no filter.
    """
    codes: list[np.ndarray] = []
    identity: list[np.ndarray] = []
    seen: list[bool] = []
    shots: list[int] = []
    for batch in _batches(frames):
        crops = [frame.crop for frame in batch if frame.crop is not None]
        if crops:
            motion_codes, identity_codes = read(torch.tensor(np.stack(crops)))
            codes += list(motion_codes.cpu().numpy())
            identity.append(identity_codes.sum(0).cpu().numpy())
        seen += [frame.crop is not None for frame in batch]
        shots += [frame.shot for frame in batch]
        if progress:
            progress("encode", len(seen), max(total, len(seen)))
    is_seen, shot_numbers = np.array(seen), np.array(shots)
    motion = np.zeros((len(seen), codes[0].shape[-1]), np.float32)
    motion[is_seen] = codes
    if smoothing:
        for stretch in _stretches(is_seen, shot_numbers):
            one_euro = OneEuro(**smoothing)
            motion[stretch] = [one_euro(code) for code in motion[stretch]]
    mean = np.sum(identity, 0)
    return DrivingMotion(motion, (mean / np.linalg.norm(mean)).astype(np.float32), is_seen, shot_numbers)


def _stretches(seen: np.ndarray, shots: np.ndarray) -> Iterator[np.ndarray]:
    """Frame numbers of each stretch in one shot with a face in every frame."""
    known = np.flatnonzero(seen)
    breaks = np.flatnonzero((np.diff(known) > 1) | (np.diff(shots[known]) != 0)) + 1
    yield from np.split(known, breaks)


def _batches(frames: Iterable[DrivingFrame]) -> Iterator[list[DrivingFrame]]:
    batch = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == BATCH_SIZE:
            yield batch
            batch = []
    if batch:
        yield batch
