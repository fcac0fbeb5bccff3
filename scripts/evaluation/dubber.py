"""Dubbing as the evaluation asks for it: frames in memory, speech in, and which pixels may have changed.

Letters: T frames, N samples at 16 kHz, g places along a side of the grid on which a face is moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from anitalker.config import FPS, RenderOptions
from anitalker.dubbing.drawing import region
from anitalker.dubbing.dubbed_frames import Spoken, dubbed_frames
from anitalker.dubbing.people import Embed, People
from anitalker.dubbing.speaking import Utterance, speak
from anitalker.dubbing.targets import FaceTargets, lip_weights
from anitalker.dubbing.tracks import Track, find_tracks
from anitalker.faces.detection import FaceFinder
from anitalker.models.base import DubbingModel
from encoders.audio import SAMPLES_PER_FRAME


class Dubber:
    """Dubs the largest face of each shot at 25 frames per second; one sample, seed 0."""

    def __init__(self, model: DubbingModel, finder: FaceFinder, load_verifier: Callable[[], Embed]) -> None:
        self.model, self.finder, self.load_verifier = model, finder, load_verifier

    def follow(self, frames: np.ndarray) -> list[Track]:
        """The face of frames uint8 [T,H,W,3], shot by shot; InputError where there is none."""
        people = People(self.finder, self.load_verifier)
        tracks = find_tracks(self.model, people, frames)
        people.check_found("largest", bool(tracks))
        return tracks

    def dub(self, frames: np.ndarray, tracks: Sequence[Track], speech: np.ndarray) -> np.ndarray:
        """Frames uint8 [T,H,W,3] with their tracks, and the lips of speech [N], which is cut or padded to T -> the same
        with other lips."""
        spoken = self._speak(len(frames), tracks, speech)
        return np.stack(list(dubbed_frames(self.model, tracks, [spoken], np.arange(len(frames)), frames, FPS)))

    def _speak(self, count: int, tracks: Sequence[Track], speech: np.ndarray) -> Spoken:
        samples = np.zeros(count * SAMPLES_PER_FRAME, np.float32)
        samples[: len(speech)] = speech[: len(samples)]
        return speak(self.model, Utterance(None, 0, count, samples), tracks, np.arange(count), RenderOptions(seed=0))

    def region(self, frames: np.ndarray, tracks: Sequence[Track], speech: np.ndarray) -> np.ndarray:
        """What `dub` redraws, at the pixels: float32 [T,H,W], how much of the movement counts, 1 inside the region, 0
        outside it and in frames that stay as filmed."""
        spoken = self._speak(len(frames), tracks, speech)
        share = np.zeros(frames.shape[:3], np.float32)
        for track in tracks:
            targets, weights = FaceTargets(self.model, track, FPS), lip_weights(track, FPS)
            rows = np.arange(min(len(track), len(frames) - track.first))
            filmed = targets.filmed(0, len(rows))
            wanted, _ = targets.wanted(filmed, spoken.codes(track.first + rows, FPS), weights[rows])
            for row in np.flatnonzero(weights[rows] > 0):
                field = region(filmed.landmarks[row], wanted[row]).cpu().numpy()
                frame = share[track.first + row]
                np.maximum(frame, _at_pixels(field, filmed.place[row], frame.shape), out=frame)
        return share


def _at_pixels(field: np.ndarray, place: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A field [g,g] of a crop at `place` (x, y, side in pixels) -> float32 [H,W]; 0 beyond the crop."""
    x, y, side = (float(value) for value in place)
    scale = len(field) / side
    matrix = np.array([[scale, 0, (0.5 - x) * scale - 0.5], [0, scale, (0.5 - y) * scale - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(field.astype(np.float32), matrix, (shape[1], shape[0]), flags=flags)
