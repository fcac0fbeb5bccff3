"""Blinks, head turns, jitter and background of a video, and the seams between windows of motion.

Points are [T,468,3] in crop units, frames uint8 [T,256,256,3] at 25 per second.
"""

from __future__ import annotations

import numpy as np

from anitalker.config import FPS
from anitalker.faces.landmarks import CHIN, FOREHEAD, eye_opening, face_height
from scripts.evaluation.clips import Source
from scripts.evaluation.lips import stretches
from scripts.evaluation.metrics import bootstrap, mean, with_interval
from scripts.evaluation.pipeline_adapter import ModelUnderTest

SHUT_SHARE = 0.55  # of the opening that a clip's eyes have when they are open (its 80th percentile)
LONGEST_BLINK = 15  # frames; longer is sleep
HEAD_AXES = 0.85, 1.0  # half axes of the ellipse that holds head and hair, in face heights
LEAST_BACKGROUND = 0.02  # of the picture
BACKGROUND = "background_change", "background_change_interval"  # keys of the report
SEEDS = 10  # motions of the seam check: it needs no pictures


def measure(frames: np.ndarray, points: np.ndarray, poses: np.ndarray) -> dict:
    """One video: frames, its points and the poses [T,6] fitted to them."""
    return {
        "frames": len(frames),
        "blinks": len(blinks(eye_opening(points))),
        "head": head_range(poses),
        "jitter": mean(speed(points, 2)),
        "background": background_change(frames, points),
    }


def liveliness(generated: list[dict], true: list[dict]) -> dict:
    """Measures of the generated videos and of the true ones, one per clip (or no true ones), with bootstrap intervals,
    and generated over true; units in docs/evaluation.md.
    """
    report: dict = {"made": summary(generated)}
    if true:
        pairs = list(zip(generated, true, strict=True))
        report["true"] = summary(true)
        for key, name in (("head", "head_range_ratio"), ("jitter", "jitter_ratio")):

            def ratio(chosen: list, key: str = key) -> float:
                sums = [sum(np.mean(pair[side][key]) for pair in chosen) for side in (0, 1)]
                return float(sums[0] / max(sums[1], 1e-9))

            report[name] = {"value": ratio(pairs), "interval": bootstrap(pairs, ratio)}
    return report


def summary(videos: list[dict]) -> dict:
    """The measures over all videos; `background_change` is None where no clip shows any."""
    backgrounds = [video["background"] for video in videos if video["background"] is not None]
    axes = np.mean([video["head"] for video in videos], 0).tolist()
    return {
        **with_interval("blinks_per_minute", videos, blinks_per_minute),
        "head_range_degrees": dict(zip(("yaw", "pitch", "roll"), axes, strict=True)),
        **with_interval("jitter", [video["jitter"] for video in videos]),
        **(with_interval("background_change", backgrounds) if backgrounds else dict.fromkeys(BACKGROUND)),
        "background_clips": len(backgrounds),
    }


def blinks_per_minute(videos: list[dict]) -> float:
    """Blinks of all videos over their length in minutes."""
    return sum(v["blinks"] for v in videos) / max(sum(v["frames"] for v in videos), 1) * FPS * 60


def blinks(eyes: np.ndarray) -> list[tuple[int, int]]:
    """Blinks in a curve of the eyes' opening [T]: lids under SHUT_SHARE of the usual, for at most LONGEST_BLINK frames.

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
    return np.ptp(np.percentile(np.rad2deg(poses[:, :3]), [5, 95], axis=0), axis=0)


def speed(points: np.ndarray, order: int = 1) -> np.ndarray:
    """Mean step of the points in the picture plane, percent of the face height -> [T-order]; order 2: acceleration."""
    steps = np.linalg.norm(np.diff(points[..., :2], order, axis=0), axis=-1).mean(-1)
    return 100 * steps / face_height(points).mean()


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
    return mean([np.abs(frame[mask].astype(np.int16) - first).mean() for frame in frames[1:]])


def seam_check(model: ModelUnderTest, source: Source, speech: np.ndarray) -> dict | None:
    """Speed of the points into the first frame of each window against all other frames, over SEEDS motions.

    No picture is made: a jump of the motion is a jump of the points. None where the model has no windows. Without
    visible seams, `within` (share of seams under the 95th percentile of the other frames) is about 0.95.
    """
    at_seams, elsewhere = [], []
    for seed in range(SEEDS):
        motion = model.speak(source, speech, seed)
        speeds = speed(model.posed(source.landmarks, source.motion, motion))
        into = np.array([frame - 1 for frame in model.seams(len(motion)) if 0 < frame <= len(speeds)], int)
        at_seams.append(speeds[into])
        elsewhere.append(np.delete(speeds, into))
    at_seams, elsewhere = np.concatenate(at_seams), np.concatenate(elsewhere)
    if not len(at_seams) or not len(elsewhere):
        return None
    limit = float(np.percentile(elsewhere, 95))
    return {
        "seams": len(at_seams),
        **with_interval("speed", at_seams),
        "speed_elsewhere": mean(elsewhere),
        "limit": limit,
        "percentile": float(100 * (elsewhere < at_seams.mean()).mean()),
        "within": mean(at_seams <= limit),
    }
