"""Follow one face through a video, cut it into stretches of one scene, and crop each with one fixed square."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from anitalker.config import CROP, FPS, LANDMARKS
from anitalker.faces.crop import FACE_IN_CROP, MIDDLE_IN_CROP
from anitalker.faces.detection import iou
from anitalker.faces.landmarks import CHIN, FOREHEAD, OneEuro, face_height

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
        if faces and box is not None and iou(faces[0].box, box) < 0.3:
            faces = sorted(faces, key=lambda face: -iou(face.box, box))
        found.append(bool(faces))
        landmarks.append(faces[0].landmarks if faces else np.zeros((LANDMARKS, 3), np.float32))
        box = faces[0].box if faces else box
    if not change:
        return Track(np.zeros(0, np.float32), np.zeros((0, LANDMARKS, 3), np.float32), np.zeros(0, bool))
    return Track(np.float32(change), np.float32(landmarks), np.array(found))


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
    """The fixed crop of landmarks [T,468,3] in pixels, placed as by `crop_face`: left, top, side."""
    side = float(np.median(face_height(landmarks))) / FACE_IN_CROP
    x, y = np.median(landmarks[:, [FOREHEAD, CHIN], :2].mean(1), axis=0)
    return float(x - side * MIDDLE_IN_CROP[0]), float(y - side * MIDDLE_IN_CROP[1]), side


def cut(frame: np.ndarray, left: float, top: float, side: float) -> np.ndarray:
    """That square of uint8 [H,W,3] as [256,256,3]; beyond the picture its border is repeated."""
    from PIL import Image

    height, width = frame.shape[:2]
    edge = int(np.ceil(max(0, -left, -top, left + side - width, top + side - height))) + 1
    padded = np.pad(frame, ((edge, edge), (edge, edge), (0, 0)), mode="edge") if edge > 1 else frame
    shift = edge if edge > 1 else 0
    box = (left + shift, top + shift, left + shift + side, top + shift + side)
    return np.asarray(Image.fromarray(padded).resize((CROP, CROP), Image.Resampling.LANCZOS, box=box))
