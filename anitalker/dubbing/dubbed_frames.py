"""The frames of a dubbed video: every face that speaks gets its lips, the rest stays as filmed.

Letters: T output frames, M = 20 motion numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anitalker.config import FPS
from anitalker.decoder.mouth import References
from anitalker.decoder.mouth_layer import encode_references
from anitalker.dubbing.drawing import MovedFace, draw_face
from anitalker.dubbing.references import Reference
from anitalker.dubbing.targets import LipTargets, eased, lip_weights
from anitalker.dubbing.tracks import Track
from anitalker.models.base import DubbingModel
from anitalker.rendering import ordered_parallel_map
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


def dubbed_frames(
    model: DubbingModel,
    tracks: Sequence[Track],
    spoken: Sequence[Spoken],
    indices: np.ndarray,
    frames: Iterable[np.ndarray],
    fps: float,
    lips: float = 1.0,
) -> Iterator[np.ndarray]:
    """Frames uint8 [H,W,3] of the video, number indices [T] of them in turn -> the same with other lips.

    fps: of the video; lips: as in RenderOptions.
    """
    plans = [
        plan
        for track in tracks
        for plan in _plans(model, track, [t for t in tracks if t.person == track.person], spoken, indices, fps, lips)
    ]

    def jobs() -> Iterator[tuple[np.ndarray, list[MovedFace]]]:
        for number, frame in enumerate(frames):
            yield frame, [face for plan in plans if (face := plan(number)) is not None]

    def draw(job: tuple[np.ndarray, list[MovedFace]]) -> np.ndarray:
        frame, faces = job
        for face in faces:
            frame = draw_face(model, frame, face)
        return frame

    workers = torch.get_num_threads()
    if workers < 2:
        yield from map(draw, jobs())
    else:
        yield from ordered_parallel_map(draw, jobs(), workers)


def _plans(
    model: DubbingModel,
    track: Track,
    shots: Sequence[Track],
    spoken: Sequence[Spoken],
    indices: np.ndarray,
    fps: float,
    lips: float,
) -> Iterator[_Plan]:
    """A plan for each line that the person of a track speaks; shots: all tracks of that person."""
    known = track.bank.references([shot.bank for shot in shots if shot is not track])
    references = encode(model, known) if known and model.mouth is not None else None
    own = [line for line in spoken if line.person == track.person]
    for line in own or [line for line in spoken if line.person is None]:
        yield _Plan(model, track, references, line, indices, fps, lips)


class _Plan:
    """One track and one line: output frame number -> how the face moves there; None where it stays as filmed."""

    def __init__(
        self,
        model: DubbingModel,
        track: Track,
        references: References | None,
        line: Spoken,
        indices: np.ndarray,
        fps: float,
        lips: float,
    ) -> None:
        self.references, self.line, self.fps = references, line, fps
        self.targets = LipTargets(model, track, fps, lips)
        self.rows = indices - track.first  # of each output frame; beyond the track where it is not in it
        within = np.zeros(len(indices), bool)
        within[line.first : line.stop] = True
        inside = (self.rows >= 0) & (self.rows < len(track))
        weights = np.zeros(len(indices))
        weights[inside] = lip_weights(track, fps)[self.rows[inside]]
        self.weights = weights * eased(within, fps)
        self._chunk: tuple[int, int, list[MovedFace]] = (0, 0, [])

    def __call__(self, number: int) -> MovedFace | None:
        if self.weights[number] <= 0:
            return None
        start, stop, faces = self._chunk
        if not start <= number < stop:
            self._chunk = start, stop, faces = self._make(number)
        return faces[number - start]

    def _make(self, start: int) -> tuple[int, int, list[MovedFace]]:
        """Faces of the output frames from `start` on that move, CHUNK_SECONDS of them at most."""
        end = min(start + max(round(CHUNK_SECONDS * self.fps), 1), len(self.weights))
        still = np.flatnonzero(self.weights[start:end] <= 0)
        numbers = np.arange(start, start + int(still[0]) if len(still) else end)
        rows = self.rows[numbers]
        first = int(rows.min())
        filmed = self.targets.filmed(first, int(rows.max()) + 1)[rows - first]
        wanted, motion = self.targets.wanted(filmed, self.line.codes(numbers, self.fps), self.weights[numbers])
        faces = [
            MovedFace(
                filmed.landmarks[n : n + 1],
                wanted[n : n + 1],
                motion[n : n + 1],
                (int(filmed.place[n, 0]), int(filmed.place[n, 1]), int(filmed.place[n, 2])),
                self.references,
            )
            for n in range(len(numbers))
        ]
        return start, start + len(numbers), faces


@torch.inference_mode()
def encode(model: DubbingModel, references: Sequence[Reference]) -> References:
    """References of `references.ReferenceBank`, as the mouth synthesiser takes them."""
    assert model.mouth is not None
    stacks = (np.stack([getattr(r, name) for r in references]) for name in ("crop", "landmarks", "motion"))
    crops, landmarks, motion = (torch.from_numpy(stack).to(model.device) for stack in stacks)
    return encode_references(model.mouth, to_tensors(crops), landmarks, motion)
