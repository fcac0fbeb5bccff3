"""Blinks, head turns, jitter and background of a video, and the seams between windows of motion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from anitalker.config import FPS
from anitalker.faces.landmarks import eye_opening
from scripts.evaluation import events
from scripts.evaluation.clips import Source
from scripts.evaluation.metrics import bootstrap, mean, with_interval
from scripts.evaluation.pipeline_adapter import ModelUnderTest

SEEDS = 10  # motions of the seam check: it needs no pictures
NO_BACKGROUND = {"background_change": None, "background_change_interval": None}


def measure(frames: np.ndarray, points: np.ndarray, poses: np.ndarray) -> dict:
    """One video: uint8 [T,256,256,3], its points [T,468,3] in crop units and the poses [T,6] fitted to them."""
    return {
        "frames": len(frames),
        "blinks": len(events.blinks(eye_opening(points))),
        "head": events.head_range(poses),
        "jitter": events.jitter(points),
        "background": events.background_change(frames, points),
    }


def liveliness(generated: list[dict], true: list[dict]) -> dict:
    """Measures of the generated videos and of the true ones, one per clip (or no true ones), with bootstrap intervals,
    and generated over true; units in docs/evaluation.md.
    """
    if not true:
        return {"made": summary(generated)}
    pairs = list(zip(generated, true, strict=True))
    report: dict = {"made": summary(generated), "true": summary(true)}
    for name, key in (("head_range_ratio", "head"), ("jitter_ratio", "jitter")):
        ratio = ratio_of(key)
        report[name] = {"value": ratio(pairs), "interval": bootstrap(pairs, ratio)}
    return report


def ratio_of(key: str) -> Callable[[list], float]:
    """A statistic of pairs (generated, true): the sum of a measure over the ones by that over the others."""

    def ratio(pairs: list) -> float:
        generated, true = (sum(np.mean(pair[side][key]) for pair in pairs) for side in (0, 1))
        return float(generated / max(true, 1e-9))

    return ratio


def blinks_per_minute(videos: list[dict]) -> float:
    """Blinks of all videos over their length in minutes."""
    return sum(v["blinks"] for v in videos) / max(sum(v["frames"] for v in videos), 1) * FPS * 60


def summary(videos: list[dict]) -> dict:
    """The measures over all videos; `background_change` is None where no clip shows any."""
    backgrounds = [video["background"] for video in videos if video["background"] is not None]
    axes = np.mean([video["head"] for video in videos], 0).tolist()
    return {
        **with_interval("blinks_per_minute", videos, blinks_per_minute),
        "head_range_degrees": dict(zip(("yaw", "pitch", "roll"), axes, strict=True)),
        **with_interval("jitter", [video["jitter"] for video in videos]),
        **(with_interval("background_change", backgrounds) if backgrounds else NO_BACKGROUND),
        "background_clips": len(backgrounds),
    }


def seam_check(model: ModelUnderTest, source: Source, speech: np.ndarray) -> dict | None:
    """Speed of the points into the first frame of each window against all other frames, over SEEDS motions.

    No picture is made: a jump of the motion is a jump of the points. None where the model has no windows. Without
    visible seams, `within` (share of seams under the 95th percentile of the other frames) is about 0.95.
    """
    at_seams, elsewhere = [], []
    for seed in range(SEEDS):
        motion = model.speak(source, speech, seed)
        speeds = events.speed(model.posed(source.landmarks, source.motion, motion))
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
        "within": float((at_seams <= limit).mean()),
    }
