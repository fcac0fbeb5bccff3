"""Beside the lips: blinks, turns of the head, trembling, the background, and the seams between windows of motion."""

from __future__ import annotations

import numpy as np

from anitalker.faces.landmarks import eye_opening
from scripts.evaluation import events
from scripts.evaluation.metrics import bootstrap
from scripts.evaluation.subject import Source, Subject

AXES = ("yaw", "pitch", "roll")
SEEDS = 10  # motions of the seam check: it needs no pictures


class Presence:
    """Videos of a system beside the true ones, every frame of both; points are the face network's in both."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict]] = {}

    def add(self, row: str, frames: np.ndarray, points: np.ndarray, poses: np.ndarray) -> None:
        """One video: uint8 [T,256,256,3], its points [T,468,3] in crop units and the poses [T,6] fitted to them."""
        self.rows.setdefault(row, []).append({
            "frames": len(frames),
            "blinks": len(events.blinks(eye_opening(points))),
            "head": events.head_range(poses),
            "jitter": events.jitter(points),
            "background": events.background_change(frames, points),
        })  # fmt: skip

    def result(self) -> dict:
        """Per row, with 95% bootstrap intervals over clips: blinks a minute, reach of yaw, pitch and roll in degrees,
        jitter in percent of the face height per frame squared, change of the background in 8 bit; and made over true.
        """
        report: dict = {row: summary(clips) for row, clips in self.rows.items()}
        if {"made", "true"} <= set(report):
            pairs = list(zip(self.rows["made"], self.rows["true"], strict=True))
            for name, value in (("head_range_ratio", _head_ratio), ("jitter_ratio", _jitter_ratio)):
                report[name] = {"value": value(pairs), "interval": bootstrap(pairs, value)}
        return report


def summary(clips: list[dict]) -> dict:
    """One row of `Presence.result`; background is None where no clip shows any."""

    def blinking(chosen: list[dict]) -> float:
        return events.per_minute([clip["blinks"] for clip in chosen], [clip["frames"] for clip in chosen])

    seen = [clip["background"] for clip in clips if clip["background"] is not None]
    return {
        "blinks_per_minute": blinking(clips),
        "blinks_per_minute_interval": bootstrap(clips, blinking),
        "head_range_degrees": dict(zip(AXES, np.mean([c["head"] for c in clips], 0).tolist(), strict=True)),
        "jitter": float(np.mean([clip["jitter"] for clip in clips])),
        "jitter_interval": bootstrap(clips, lambda chosen: float(np.mean([clip["jitter"] for clip in chosen]))),
        "background_change": float(np.mean(seen)) if seen else None,
        "background_change_interval": bootstrap(seen, lambda chosen: float(np.mean(chosen))) if seen else None,
        "background_clips": len(seen),
    }


def _head_ratio(pairs: list[tuple[dict, dict]]) -> float:
    made, true = (sum(pair[side]["head"].mean() for pair in pairs) for side in (0, 1))
    return float(made / max(true, 1e-9))


def _jitter_ratio(pairs: list[tuple[dict, dict]]) -> float:
    made, true = (sum(pair[side]["jitter"] for pair in pairs) for side in (0, 1))
    return float(made / max(true, 1e-9))


def seam_check(subject: Subject, source: Source, speech: np.ndarray, samples: int = SEEDS) -> dict | None:
    """Steps of the points into the first frame of each window against all other steps, of `samples` motions.

    No picture is made: a jump of the motion is a jump of the points. None where the subject has no windows. A system
    without seams has `within` (share of seams under the 95th percentile of the other steps) of about 0.95.
    """
    at, elsewhere = [], []
    for seed in range(samples):
        motion = subject.speak(source, speech, seed)
        velocity = events.speed(subject.posed(source.landmarks, source.motion, motion))
        parts = events.seams(velocity, subject.seams(len(motion)))
        at.append(parts[0])
        elsewhere.append(parts[1])
    at, elsewhere = np.concatenate(at), np.concatenate(elsewhere)
    if not len(at) or not len(elsewhere):
        return None
    limit = float(np.percentile(elsewhere, 95))
    mean = float(at.mean())
    return {
        "seams": len(at),
        "speed": mean,
        "speed_interval": bootstrap(at, lambda chosen: float(np.mean(chosen))),
        "speed_elsewhere": float(elsewhere.mean()),
        "limit": limit,
        "percentile": float(100 * (elsewhere < mean).mean()),
        "within": float((at <= limit).mean()),
    }
