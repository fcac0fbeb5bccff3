"""Follow one face through a video, cut it into stretches of one scene, and crop each with one fixed square."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from anitalker.config import CROP, FPS, LANDMARKS
from anitalker.landmarks import OneEuro, face_height

FACE_HEIGHT = 0.55  # of the crop, forehead to chin
CENTRE_Y = 0.53  # where the middle of the landmarks' box stands in the crop: hair needs more room than the neck
GAP = 5  # frames without a face that are bridged


@dataclass(frozen=True)
class Track:
    """A video frame by frame: change to the frame before (mean grey difference, 0..255), landmarks in pixels, found."""

    change: np.ndarray  # float32 [T]
    landmarks: np.ndarray  # float32 [T,468,3], 0 where not found
    found: np.ndarray  # bool [T]


def track(frames: Iterable[np.ndarray], finder) -> Track:
    """Follow one face through uint8 [H,W,3] frames: the largest at first, then the one that overlaps its last place."""
    change, landmarks, found = [], [], []
    before, box = None, None
    for frame in frames:
        small = frame[:: max(1, frame.shape[0] // 48), :: max(1, frame.shape[1] // 48)].mean(-1)
        change.append(0.0 if before is None else float(np.abs(small - before).mean()))
        before = small
        faces = finder.find(frame)
        if faces and box is not None and overlap(faces[0].box, box) < 0.3:
            faces = sorted(faces, key=lambda face: -overlap(face.box, box))
        found.append(bool(faces))
        landmarks.append(faces[0].landmarks if faces else np.zeros((LANDMARKS, 3), np.float32))
        box = faces[0].box if faces else box
    if not change:
        return Track(np.zeros(0, np.float32), np.zeros((0, LANDMARKS, 3), np.float32), np.zeros(0, bool))
    return Track(np.float32(change), np.float32(landmarks), np.array(found))


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes (x0,y0,x1,y1)."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / max((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both, 1e-9)


def segments(video: Track, scene: float, shortest: float, longest: float, smallest: float) -> list[tuple[int, int]]:
    """Stretches [start,end) of one scene and face, `shortest` to `longest` seconds, face `smallest` pixels or higher.

    A new stretch begins where the picture changes by more than `scene`, where the face jumps by a third of its height,
    and after more than GAP frames without it; no stretch begins or ends without a face.
    """
    cuts, last, starts = [], None, None
    for t in np.flatnonzero(video.found):
        broken = last is None or t - last > GAP + 1 or video.change[last + 1 : t + 1].max() > scene
        if not broken:
            step = np.linalg.norm(video.landmarks[t, :, :2].mean(0) - video.landmarks[last, :, :2].mean(0))
            broken = step > face_height(video.landmarks[t]) / 3
        if broken:
            if starts is not None:
                cuts.append((starts, last + 1))
            starts = t
        last = t
    if starts is not None:
        cuts.append((starts, last + 1))
    pieces = []
    for start, end in cuts:
        parts = max(1, int(np.ceil((end - start) / (longest * FPS))))
        edges = np.linspace(start, end, parts + 1).round().astype(int)
        pieces += list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    return [piece for piece in pieces if _long_enough(video, piece, shortest, smallest)]


def _long_enough(video: Track, piece: tuple[int, int], shortest: float, smallest: float) -> bool:
    seen = video.found[slice(*piece)]
    height = face_height(video.landmarks[slice(*piece)])[seen]
    return piece[1] - piece[0] >= shortest * FPS and seen.mean() > 0.8 and np.median(height) >= smallest


def bridge(landmarks: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Landmarks [T,468,3] with the frames that have none filled linearly from their neighbours in time."""
    known = np.flatnonzero(found)
    filled = landmarks.copy()
    for t in np.flatnonzero(~found):
        after = np.searchsorted(known, t)
        a, b = known[max(after - 1, 0)], known[min(after, len(known) - 1)]
        share = (t - a) / (b - a) if b > a else 0.0
        filled[t] = landmarks[a] * (1 - share) + landmarks[b] * share
    return filled


def smooth(landmarks: np.ndarray, height: float) -> np.ndarray:
    """One-Euro filter over time, in face heights, so that its strength does not depend on the resolution."""
    one_euro = OneEuro(FPS)
    return np.stack([one_euro(frame) for frame in landmarks / height]).astype(np.float32) * height


def square(landmarks: np.ndarray) -> tuple[float, float, float]:
    """The fixed crop of a clip from its landmarks [T,468,3] in pixels: left, top, side."""
    low, high = landmarks[..., :2].min(1), landmarks[..., :2].max(1)
    x, y = np.median((low + high) / 2, axis=0)
    side = float(np.median(face_height(landmarks))) / FACE_HEIGHT
    return float(x - side / 2), float(y - side * CENTRE_Y), side


def cut(frame: np.ndarray, left: float, top: float, side: float) -> np.ndarray:
    """That square of uint8 [H,W,3] as [256,256,3]; beyond the picture its border is repeated."""
    from PIL import Image

    height, width = frame.shape[:2]
    edge = int(np.ceil(max(0, -left, -top, left + side - width, top + side - height))) + 1
    padded = np.pad(frame, ((edge, edge), (edge, edge), (0, 0)), mode="edge") if edge > 1 else frame
    shift = edge if edge > 1 else 0
    box = (left + shift, top + shift, left + shift + side, top + shift + side)
    return np.asarray(Image.fromarray(padded).resize((CROP, CROP), Image.Resampling.LANCZOS, box=box))
