"""What happens in a video: lips that close, blinks, turns of the head, trembling, jumps, a background that moves.

Curves are [T] at 25 frames per second, points [T,468,3] in crop units, frames uint8 [T,256,256,3].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anitalker.config import FPS
from anitalker.faces.landmarks import CHIN, FOREHEAD, face_height

LOW = 0.15  # of a clip's range: lips under it are closed
STILL = 1e-4  # range under which a curve does not move
TOLERANCE = 2  # frames
EYES_SHUT = 0.55  # of the opening that a clip's eyes have when they are open (its 80th percentile)
LONGEST_BLINK = 15  # frames; longer is sleep
HEAD_WIDE, HEAD_HIGH = 0.85, 1.0  # half axes of the ellipse that surely holds head and hair, in face heights
LEAST_BACKGROUND = 0.02  # of the picture


def closures(curve: np.ndarray) -> np.ndarray:
    """Frames of the local minima under LOW of the curve's own range; of two within TOLERANCE the lower one counts."""
    curve = np.asarray(curve, np.float64)
    low, high = curve.min(), curve.max()
    if high - low < STILL:
        return np.zeros(0, int)
    padded = np.pad(curve, 1, constant_values=np.inf)  # so that the first and the last frame can be minima
    minima = np.flatnonzero((curve <= padded[:-2]) & (curve <= padded[2:]) & (curve < low + LOW * (high - low)))
    found: list[int] = []
    for frame in minima[np.argsort(curve[minima], kind="stable")]:
        if all(abs(frame - other) > TOLERANCE for other in found):
            found.append(int(frame))
    return np.array(sorted(found), int)


def stretches(below: np.ndarray) -> list[tuple[int, int]]:
    """Runs of True in bool [T]: first and last frame of each."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(below, np.int8), [0]])))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def closed_stretches(curve: np.ndarray) -> list[tuple[int, int]]:
    """Runs of frames with lips under LOW of the curve's range; a pause counts once, however its noise trembles."""
    low, high = float(np.min(curve)), float(np.max(curve))
    return stretches(curve < low + LOW * (high - low)) if high - low >= STILL else []


def matches(made: Sequence, true: Sequence, tolerance: int = TOLERANCE) -> int:
    """How many events can be paired one to one within `tolerance` frames; events are frames or (first, last)."""
    made, true = (sorted(e if isinstance(e, tuple) else (int(e), int(e)) for e in side) for side in (made, true))
    count = i = j = 0
    while i < len(made) and j < len(true):
        if made[i][1] + tolerance < true[j][0]:
            i += 1
        elif true[j][1] + tolerance < made[i][0]:
            j += 1
        else:
            count, i, j = count + 1, i + 1, j + 1
    return count


def f1(counts: Sequence[tuple[int, int, int]]) -> float:
    """F1 over clips of (matched, made, true): 2 matched / (made + true); 0 if there was nothing at all."""
    matched, made, true = np.sum(np.asarray(counts).reshape(-1, 3), 0)
    return float(2 * matched / (made + true)) if made + true else 0.0


def count_events(made: Sequence, true: Sequence) -> tuple[int, int, int]:
    """(matched, made, true) for `f1`."""
    return matches(made, true), len(made), len(true)


def blinks(eyes: np.ndarray) -> list[tuple[int, int]]:
    """Blinks in a curve of the eyes' opening: lids under EYES_SHUT of the usual, for at most LONGEST_BLINK frames.

    Two that are less than three frames apart are one.
    """
    eyes = np.asarray(eyes, np.float64)
    joined: list[tuple[int, int]] = []
    for first, last in stretches(eyes < EYES_SHUT * np.percentile(eyes, 80)):
        if joined and first - joined[-1][1] < 3:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return [(first, last) for first, last in joined if last - first < LONGEST_BLINK]


def per_minute(events: Sequence[int], frames: Sequence[int]) -> float:
    """Numbers of events over clips of so many frames -> events a minute."""
    return float(np.sum(events) / max(np.sum(frames), 1) * FPS * 60)


def head_range(poses: np.ndarray) -> np.ndarray:
    """Poses [T,6] -> how far yaw, pitch and roll reach in degrees, 5th to 95th percentile: [3]."""
    low, high = np.percentile(np.rad2deg(poses[:, :3]), [5, 95], axis=0)
    return high - low


def speed(points: np.ndarray) -> np.ndarray:
    """Mean step of the points from frame to frame in the picture plane, percent of the face height -> [T-1]."""
    steps = np.linalg.norm(np.diff(points[..., :2], axis=0), axis=-1).mean(-1)
    return 100 * steps / face_height(points).mean()


def jitter(points: np.ndarray) -> float:
    """Mean acceleration (second difference) of the points in the picture plane, percent of the face height."""
    change = np.diff(points[..., :2], 2, axis=0)
    return float(100 * np.linalg.norm(change, axis=-1).mean() / face_height(points).mean())


def seams(velocity: np.ndarray, first_frames: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Steps into the first frame of each window, and all other steps; velocity [T-1] of `speed`."""
    at = np.array([frame - 1 for frame in first_frames if 0 < frame <= len(velocity)], int)
    return velocity[at], np.delete(velocity, at)


def background_mask(landmarks: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Pixels [size,size] that no head of these landmarks [T,468,3] touches, nor anything below the chin.

    A head is the ellipse of HEAD_WIDE by HEAD_HIGH face heights about the middle between forehead and chin.
    """
    centres = (np.arange(size) + 0.5) / size
    outside = np.ones((size, size), bool)
    for points in landmarks:
        height = face_height(points)
        middle = (points[FOREHEAD, :2] + points[CHIN, :2]) / 2
        x, y = (centres - middle[0]) / (HEAD_WIDE * height), (centres - middle[1]) / (HEAD_HIGH * height)
        outside &= x[None] ** 2 + y[:, None] ** 2 > 1
        outside[centres > points[CHIN, 1], :] = False
    return outside


def background_change(frames: np.ndarray, landmarks: np.ndarray) -> float | None:
    """Mean absolute difference in 8 bit of frames 1.. to frame 0 outside the head; None where the head fills all."""
    mask = background_mask(landmarks, frames.shape[1])
    if mask.mean() < LEAST_BACKGROUND:
        return None
    still = frames[0][mask].astype(np.int16)
    return float(np.mean([np.abs(frame[mask].astype(np.int16) - still).mean() for frame in frames[1:]]))
