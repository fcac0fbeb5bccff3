"""What the people of a video say, as motion codes: generator and lips as in a rendered portrait, for the lips alone.

Letters: N samples at 16 kHz, M = 20 motion numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from anitalker.config import POSE_SIZE, RenderOptions
from anitalker.dubbing.dubbed_frames import Spoken
from anitalker.dubbing.tracks import Track
from anitalker.models.base import DubbingModel


@dataclass(frozen=True)
class Utterance:
    """A recording float32 [N] that a person speaks in output frames first ... stop - 1; person None: everybody who has
    no lines of their own."""

    person: int | None
    first: int
    stop: int
    samples: np.ndarray


def speak(
    model: DubbingModel, line: Utterance, tracks: Sequence[Track], indices: np.ndarray, options: RenderOptions
) -> Spoken:
    """The motion of a line. Lips begin as the person is filmed where it begins; indices: of the video's frames."""
    start = torch.zeros(1, model.generator.config.motion_size, device=model.device)
    for track in tracks:
        row = int(indices[line.first]) - track.first
        if line.person in (None, track.person) and 0 <= row < len(track) and any(track.coded):
            coded = np.flatnonzero(np.frombuffer(bytes(track.coded), bool))
            nearest = int(coded[np.abs(coded - row).argmin()])
            start[0, POSE_SIZE:] = torch.tensor(track.read(nearest, nearest + 1)[2][0])
            break
    features = model.speech_features(torch.tensor(line.samples))
    return Spoken(line.person, line.first, line.stop, model.speak(features, start, options, options.seed))
