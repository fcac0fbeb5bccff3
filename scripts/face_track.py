"""Follow one face through a video, cut it into stretches of one scene, and crop each with one fixed square."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.interpolate import interp1d

from anitalker.config import CROP, FPS, LANDMARKS
from anitalker.faces.crop import FACE_IN_CROP, MIDDLE_IN_CROP
from anitalker.faces.detection import iou
from anitalker.faces.landmarks import CHIN, FOREHEAD, OneEuro, face_height

GAP = 5  # frames without a face that are bridged


class Track(NamedTuple):
    """A video frame by frame; change: mean grey difference to the frame before, 0..255; landmarks in pixels."""

    change: np.ndarray  # float32 [T]
    landmarks: np.ndarray  # float32 [T,468,3], 0 where there is none
    has_face: np.ndarray  # bool [T]


def track(frames: Iterable[np.ndarray], finder) -> Track:
    """Follow one face through uint8 [H,W,3] frames: the largest at first, then the one that overlaps its last place."""
    change, landmarks, has_face = [], [], []
    before, box = None, None
    for frame in frames:
        small = frame[:: max(1, frame.shape[0] // 48), :: max(1, frame.shape[1] // 48)].mean(-1)
        change.append(0.0 if before is None else float(np.abs(small - before).mean()))
        before = small
        faces = finder.find(frame)
        if faces and box is not None and iou(faces[0].box, box) < 0.3:
            faces = sorted(faces, key=lambda face: -iou(face.box, box))
        has_face.append(bool(faces))
        landmarks.append(faces[0].landmarks if faces else np.zeros((LANDMARKS, 3), np.float32))
        box = faces[0].box if faces else box
    return Track(np.float32(change), np.float32(landmarks).reshape(-1, LANDMARKS, 3), np.array(has_face, bool))


def segments(video: Track, scene: float, shortest: float, longest: float, smallest: float) -> list[tuple[int, int]]:
    """Stretches [start,end) of one scene and face, `shortest` to `longest` seconds, face `smallest` pixels or higher.

    A new stretch begins where the picture changes by more than `scene`, where the face jumps by a third of its height,
    and after more than GAP frames without it; no stretch begins or ends without a face.
    """
    seen = np.flatnonzero(video.has_face)
    breaks = [i for i, (last, t) in enumerate(pairwise(seen), 1) if _is_cut(video, last, t, scene)]
    stretches = []
    for frames in np.split(seen, breaks) if len(seen) else ():
        start, end = frames[0], frames[-1] + 1
        edges = np.linspace(start, end, max(1, int(np.ceil((end - start) / (longest * FPS)))) + 1).round().astype(int)
        for stretch in pairwise(edges.tolist()):
            has_face = video.has_face[slice(*stretch)]
            height = np.median(face_height(video.landmarks[slice(*stretch)])[has_face])
            if len(has_face) >= shortest * FPS and has_face.mean() > 0.8 and height >= smallest:
                stretches.append(stretch)
    return stretches


def _is_cut(video: Track, last: int, t: int, scene: float) -> bool:
    """Whether something other begins between two frames with a face."""
    step = np.linalg.norm(video.landmarks[t, :, :2].mean(0) - video.landmarks[last, :, :2].mean(0))
    jump = step > face_height(video.landmarks[t]) / 3
    return t - last > GAP + 1 or jump or video.change[last + 1 : t + 1].max() > scene


def bridge(landmarks: np.ndarray, has_face: np.ndarray) -> np.ndarray:
    """Landmarks [T,468,3] with the frames that have none filled linearly from their neighbours in time."""
    known, filled = np.flatnonzero(has_face), landmarks.copy()
    ends = (landmarks[known[0]], landmarks[known[-1]])
    between = interp1d(known, landmarks[known], axis=0, bounds_error=False, fill_value=ends)
    filled[~has_face] = between(np.flatnonzero(~has_face))
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
    height, width = frame.shape[:2]
    edge = int(np.ceil(max(0, -left, -top, left + side - width, top + side - height)))
    padded = np.pad(frame, ((edge, edge), (edge, edge), (0, 0)), mode="edge")
    box = (left + edge, top + edge, left + edge + side, top + edge + side)
    return np.asarray(Image.fromarray(padded).resize((CROP, CROP), Image.Resampling.LANCZOS, box=box))
