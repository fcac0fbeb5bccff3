"""The frames of a dubbed video: every face that speaks gets its lips, the rest stays as filmed.

Letters: T output frames, M = 20 motion numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anitalker.config import FPS, DubOptions
from anitalker.decoder.mouth import References
from anitalker.dubbing.drawing import MovedFace, draw_face
from anitalker.dubbing.known_mouths import with_known
from anitalker.dubbing.references import Reference
from anitalker.dubbing.targets import EASE_SECONDS, FaceTargets, lip_weights
from anitalker.dubbing.tracks import Track
from anitalker.models.base import DubbingModel
from anitalker.rendering import ordered_parallel_map
from anitalker.runtime.smoothstep import smoothstep
from anitalker.runtime.transfer import to_tensors

CHUNK_SECONDS = 2.0  # of targets computed at once


@dataclass(frozen=True)
class Spoken:
    """What a person says: output frames first ... stop - 1, and the motion codes [m,M], 25 per second from `first` on;
    person None: everybody without lines of their own."""

    person: int | None
    first: int
    stop: int
    motion: Tensor

    def codes(self, frames: np.ndarray, fps: float) -> Tensor:
        """The codes of output frames, numbers [n] -> [n,M]."""
        places = torch.tensor((frames - self.first) * (FPS / fps), dtype=torch.float32, device=self.motion.device)
        places = places.clamp(0, len(self.motion) - 1)
        before = places.long()
        after = (before + 1).clamp(max=len(self.motion) - 1)
        return torch.lerp(self.motion[before], self.motion[after], (places - before)[:, None])

    def weights(self, frames: np.ndarray, total: int, fps: float) -> np.ndarray:
        """How far the line counts in output frames, numbers [n] -> [n]: it eases in and out, but not at the ends of the
        video, which has `total` frames."""
        into = np.where(self.first > 0, frames - self.first + 1, np.inf)
        left = np.where(self.stop < total, self.stop - frames, np.inf)
        inside = np.minimum(into, left).clip(0, EASE_SECONDS * fps) / (EASE_SECONDS * fps)
        return np.where((frames >= self.first) & (frames < self.stop), smoothstep(inside), 0.0)


def dubbed_frames(
    model: DubbingModel,
    tracks: Sequence[Track],
    spoken: Sequence[Spoken],
    indices: np.ndarray,
    frames: Iterable[np.ndarray],
    fps: float,
    lips: float = 1.0,
    follow: str = DubOptions.follow,
    known: Mapping[int, Sequence[Reference]] | None = None,
) -> Iterator[np.ndarray]:
    """Frames uint8 [H,W,3] of the video, number indices [T] of them in turn -> the same with other lips.

    fps: of the video; lips: as in RenderOptions; follow: as in DubOptions; known: more references of a person's mouth.
    """
    plan = _Plan(model, tracks, spoken, indices, fps, lips, follow, known or {})

    def draw(job: tuple[np.ndarray, list[MovedFace]]) -> np.ndarray:
        frame, faces = job
        for face in faces:
            frame = draw_face(model, frame, face)
        return frame

    jobs = ((frame, plan(number)) for number, frame in enumerate(frames))
    workers = torch.get_num_threads()
    yield from map(draw, jobs) if workers < 2 else ordered_parallel_map(draw, jobs, workers)


class _Plan:
    """Output frame number -> the faces that move in it. It holds what the tracks that are on screen need."""

    def __init__(
        self,
        model: DubbingModel,
        tracks: Sequence[Track],
        spoken: Sequence[Spoken],
        indices: np.ndarray,
        fps: float,
        lips: float,
        follow: str,
        known: Mapping[int, Sequence[Reference]],
    ) -> None:
        self.model, self.tracks, self.spoken, self.indices = model, tracks, spoken, indices
        self.fps, self.lips, self.follow, self.known = fps, lips, follow, known
        self.firsts = np.array([track.first for track in tracks], np.int64)
        self.stops = self.firsts + [len(track) for track in tracks]
        self._shown: dict[int, list[_SpeakingFace]] = {}

    def __call__(self, number: int) -> list[MovedFace]:
        index = int(self.indices[number])
        shown = np.flatnonzero((self.firsts <= index) & (index < self.stops)).tolist()
        self._shown = {n: self._shown[n] if n in self._shown else self._faces(n) for n in shown}
        moved = (face(number) for faces in self._shown.values() for face in faces)
        return [face for face in moved if face is not None]

    def _faces(self, place: int) -> list[_SpeakingFace]:
        """What the person of a track says, line by line."""
        track = self.tracks[place]
        own = [line for line in self.spoken if line.person == track.person]
        lines = own or [line for line in self.spoken if line.person is None]
        shots = [shot.bank for shot in self.tracks if shot.person == track.person and shot is not track]
        shown = track.bank.references(shots) if lines and self.model.mouth is not None else []
        shown = with_known(shown, self.known.get(track.person, ())) if shown else []
        references = encode(self.model, shown) if shown else None
        targets = FaceTargets(self.model, track, self.fps, self.lips, self.follow)
        weights = lip_weights(track, self.fps)
        return [_SpeakingFace(targets, weights, references, line, self.indices) for line in lines]


class _SpeakingFace:
    """One face that says one line: output frame number -> how it moves there; None where it stays as filmed.

    weights [n]: of the track's frames.
    """

    def __init__(
        self,
        targets: FaceTargets,
        weights: np.ndarray,
        references: References | None,
        line: Spoken,
        indices: np.ndarray,
    ) -> None:
        self.targets, self.weights, self.references, self.line, self.indices = (
            targets,
            weights,
            references,
            line,
            indices,
        )
        self._first = 0
        self._chunk: list[MovedFace | None] = []

    def __call__(self, number: int) -> MovedFace | None:
        if not self.line.first <= number < self.line.stop:
            return None
        if not self._first <= number < self._first + len(self._chunk):
            self._first, self._chunk = number, self._make(number)
        return self._chunk[number - self._first]

    def _make(self, start: int) -> list[MovedFace | None]:
        """The faces of the output frames from `start` on that show the track, CHUNK_SECONDS of them at most."""
        fps, total = self.targets.fps, len(self.indices)
        numbers = np.arange(start, min(start + max(round(CHUNK_SECONDS * fps), 1), self.line.stop))
        rows = self.indices[numbers] - self.targets.track.first
        outside = np.flatnonzero((rows < 0) | (rows >= len(self.weights)))
        if len(outside):
            numbers, rows = numbers[: outside[0]], rows[: outside[0]]
        weights = self.weights[rows] * self.line.weights(numbers, total, fps)
        faces: list[MovedFace | None] = [None] * len(numbers)
        if moving := np.flatnonzero(weights > 0).tolist():
            first, last = int(rows[moving].min()), int(rows[moving].max())
            filmed = self.targets.filmed(first, last + 1)[rows[moving] - first]
            wanted, motion = self.targets.wanted(filmed, self.line.codes(numbers[moving], fps), weights[moving])
            for n, at in enumerate(moving):
                x, y, side = (int(value) for value in filmed.place[n])
                single = slice(n, n + 1)
                faces[at] = MovedFace(
                    filmed.landmarks[single],
                    wanted[single],
                    motion[single],
                    (x, y, side),
                    self.references,
                    self.targets.follow,
                )
        return faces


@torch.inference_mode()
def encode(model: DubbingModel, references: Sequence[Reference]) -> References:
    """References of a ReferenceBank, as the mouth synthesiser takes them."""
    assert model.mouth is not None
    stacks = (np.stack([getattr(r, name) for r in references]) for name in ("patch", "landmarks", "motion"))
    patches, landmarks, motion = (torch.from_numpy(stack).to(model.device) for stack in stacks)
    return model.mouth.encode(to_tensors(patches)[None], landmarks[None], motion[None])
