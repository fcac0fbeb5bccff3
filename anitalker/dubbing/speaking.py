"""What the people of a video say, as motion codes: generator and lips as in a rendered portrait, or a face that is
filmed while it speaks.

Letters: N samples at 16 kHz, M = 20 motion numbers, K = M - 6 of expression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from anitalker import driving
from anitalker.config import POSE_SIZE, RenderOptions
from anitalker.dubbing.dubbed_frames import Spoken
from anitalker.dubbing.tracks import Track
from anitalker.faces.detection import FaceFinder
from anitalker.models.base import DubbingModel, Model, PathLike, ProgressCallback


@dataclass(frozen=True)
class Utterance:
    """A recording float32 [N] that a person speaks in output frames first ... stop - 1; person None: everybody who has
    no lines of their own. file: the recording, which shows the face that is followed instead of speech."""

    person: int | None
    first: int
    stop: int
    samples: np.ndarray
    file: PathLike | None = None


def speak(
    model: DubbingModel, line: Utterance, tracks: Sequence[Track], indices: np.ndarray, options: RenderOptions
) -> Spoken:
    """The motion of a line. Lips begin as the person is filmed where it begins; indices: of the video's frames."""
    start = torch.zeros(1, model.generator.config.motion_size, device=model.device)
    expression = filmed_expression(line, tracks, int(indices[line.first]))
    if expression is not None:
        start[0, POSE_SIZE:] = torch.tensor(expression)
    features = model.speech_features(torch.tensor(line.samples))
    return Spoken(line.person, line.first, line.stop, model.speak(features, start, options, options.seed))


def filmed_expression(line: Utterance, tracks: Sequence[Track], index: int) -> np.ndarray | None:
    """The expression [K] of the person of a line about frame `index` of the video; None if it is not known."""
    for track in tracks:
        row = index - track.first
        if line.person in (None, track.person) and 0 <= row < len(track) and any(track.coded):
            coded = np.flatnonzero(np.frombuffer(bytes(track.coded), bool))
            nearest = int(coded[np.abs(coded - row).argmin()])
            return track.read(nearest, nearest + 1)[2][0]
    return None


class Performances:
    """Reads what faces do that are filmed while they speak, each recording once."""

    def __init__(self, model: Model, finder: FaceFinder, progress: ProgressCallback | None = None) -> None:
        self.model, self.finder, self.progress = model, finder, progress
        self._motion: dict[PathLike, torch.Tensor] = {}

    def __call__(self, line: Utterance) -> Spoken:
        """The motion of a line: the expression as it is, the pose as it differs from the first face of its shot.

        Its largest face counts; frames without a face rest. InputError if the recording shows no face.
        """
        assert line.file is not None
        if line.file not in self._motion:
            drive = driving.read_motion(self.model, self.finder, line.file, progress=self.progress)
            changes = driving.changes_of(self.model, drive)
            self._motion[line.file] = torch.tensor(changes, device=self.model.device)
        return Spoken(line.person, line.first, line.stop, self._motion[line.file])
