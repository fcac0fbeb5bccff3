"""Events in a video: closures of the lips, blinks, head turns, jitter, a background that moves.

Curves are [T] at 25 frames per second, points [T,468,3] in crop units, frames uint8 [T,256,256,3].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import find_objects, label

from anitalker.faces.landmarks import CHIN, FOREHEAD, face_height

CLOSED_SHARE = 0.15  # of a clip's range: lips under it are closed
LEAST_RANGE = 1e-4  # range under which a curve does not move
TOLERANCE = 2  # frames
SHUT_SHARE = 0.55  # of the opening that a clip's eyes have when they are open (its 80th percentile)
LONGEST_BLINK = 15  # frames; longer is sleep
HEAD_AXES = 0.85, 1.0  # half axes of the ellipse that holds head and hair, in face heights
LEAST_BACKGROUND = 0.02  # of the picture


def closures(curve: np.ndarray) -> np.ndarray:
    """Frames of the local minima under CLOSED_SHARE of the range; of two within TOLERANCE the lower one counts."""
    low, high = np.min(curve), np.max(curve)
    if high - low < LEAST_RANGE:
        return np.zeros(0, int)
    padded = np.pad(np.asarray(curve, np.float64), 1, constant_values=np.inf)  # so that both ends can be minima
    minima = (curve <= padded[:-2]) & (curve <= padded[2:]) & (curve < low + CLOSED_SHARE * (high - low))
    kept: list[int] = []
    for frame in sorted(np.flatnonzero(minima).tolist(), key=lambda frame: curve[frame]):
        if all(abs(frame - other) > TOLERANCE for other in kept):
            kept.append(frame)
    return np.array(sorted(kept), int)


def stretches(below: np.ndarray) -> list[tuple[int, int]]:
    """Runs of True in bool [T]: first and last frame of each."""
    return [(frames.start, frames.stop - 1) for (frames,) in find_objects(label(below)[0])]


def closed_stretches(curve: np.ndarray) -> list[tuple[int, int]]:
    """Runs of frames with lips under CLOSED_SHARE of the range; a pause counts once, however its noise trembles."""
    low, high = np.min(curve), np.max(curve)
    return stretches(curve < low + CLOSED_SHARE * (high - low)) if high - low >= LEAST_RANGE else []


def matches(predicted: Sequence, true: Sequence) -> int:
    """How many events can be paired one to one within TOLERANCE frames; events are frames or (first, last)."""
    predicted, true = (
        sorted(e if isinstance(e, tuple) else (int(e), int(e)) for e in side) for side in (predicted, true)
    )
    count = i = j = 0
    while i < len(predicted) and j < len(true):
        if predicted[i][1] + TOLERANCE < true[j][0]:
            i += 1
        elif true[j][1] + TOLERANCE < predicted[i][0]:
            j += 1
        else:
            count, i, j = count + 1, i + 1, j + 1
    return count


def f1(counts: Sequence[tuple[int, int, int]]) -> float:
    """F1 over clips of (matched, predicted, true): 2 matched / (predicted + true); 0 if there was nothing at all."""
    matched, predicted, true = np.sum(counts, 0)
    return float(2 * matched / (predicted + true)) if predicted + true else 0.0


def blinks(eyes: np.ndarray) -> list[tuple[int, int]]:
    """Blinks in a curve of the eyes' opening: lids under SHUT_SHARE of the usual, for at most LONGEST_BLINK frames.

    Two that are less than three frames apart are one.
    """
    joined: list[tuple[int, int]] = []
    for first, last in stretches(eyes < SHUT_SHARE * np.percentile(eyes, 80)):
        if joined and first - joined[-1][1] < 3:
            first = joined.pop()[0]
        joined.append((first, last))
    return [(first, last) for first, last in joined if last - first < LONGEST_BLINK]


def head_range(poses: np.ndarray) -> np.ndarray:
    """Poses [T,6] -> how far yaw, pitch and roll reach in degrees, 5th to 95th percentile: [3]."""
    low, high = np.percentile(np.rad2deg(poses[:, :3]), [5, 95], axis=0)
    return high - low


def speed(points: np.ndarray, order: int = 1) -> np.ndarray:
    """Mean step of the points in the picture plane, percent of the face height -> [T-order]; order 2: acceleration."""
    steps = np.linalg.norm(np.diff(points[..., :2], order, axis=0), axis=-1).mean(-1)
    return 100 * steps / face_height(points).mean()


def jitter(points: np.ndarray) -> float:
    """Mean acceleration of the points in the picture plane, percent of the face height per frame squared."""
    return float(speed(points, 2).mean())


def background_mask(points: np.ndarray, size: int) -> np.ndarray:
    """Pixels [size,size] that no head of these points [T,468,3] touches, nor anything below the chin.

    A head is the ellipse of HEAD_AXES about the middle between forehead and chin.
    """
    centres = (np.arange(size) + 0.5) / size
    outside = np.ones((size, size), bool)
    for face, height in zip(points, face_height(points), strict=True):
        middle = (face[FOREHEAD, :2] + face[CHIN, :2]) / 2
        x, y = ((centres - at) / (half * height) for at, half in zip(middle, HEAD_AXES, strict=True))
        outside &= x[None] ** 2 + y[:, None] ** 2 > 1
        outside[centres > face[CHIN, 1], :] = False
    return outside


def background_change(frames: np.ndarray, points: np.ndarray) -> float | None:
    """Mean absolute difference in 8 bit of frames 1.. to frame 0 outside the head; None where the head fills all."""
    mask = background_mask(points, frames.shape[1])
    if mask.mean() < LEAST_BACKGROUND:
        return None
    first = frames[0][mask].astype(np.int16)
    return float(np.mean([np.abs(frame[mask].astype(np.int16) - first).mean() for frame in frames[1:]]))
