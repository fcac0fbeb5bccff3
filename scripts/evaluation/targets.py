"""The targets of a model on val, and whether a report reaches them."""

from __future__ import annotations

from typing import Any

CLOSED = 0.025  # lip opening over face height that is closed to the eye
OPEN_MOUTH = 0.05  # lip opening over face height from which a still counts as clearly open

# What; where in the report; at least (>=) or at most (<=); limit. A key that a report lacks is left out.
TARGETS = (
    ("gain on copying, whole crop (dB)", "gain.psnr.mean", ">=", 3.0),
    ("gain on copying, face (dB)", "gain.psnr_face.mean", ">=", 7.5),
    ("landmark distance (face heights)", "self_reenactment.landmark", "<=", 0.018),
    ("landmark distance over copying's", "gain.landmark_ratio", "<=", 1 / 3),
    ("mouth, perceptual distance over the warp's", "warp.share.mouth", "<=", 0.5),
    ("eyes, perceptual distance over the warp's", "warp.share.eyes", "<=", 0.5),
    ("identity, percentile among different people", "identity.made.percentile", ">=", 90),
    ("cost of the mean code, face (dB)", "mean_code.cost_psnr_face", ">=", 2),
    *((f"pose R2, {axis}", f"codes.pose_r2.{axis}", ">=", 0.9) for axis in ("yaw", "pitch", "roll", "x", "y", "scale")),
    ("lip opening from codes, r", "codes.lip_r", ">=", 0.9),
    ("cross-reenactment, identity percentile", "cross.identity.made.percentile", ">=", 90),
    ("open mouths in silence, mean opening after 1 s", "open_mouths.opening_after_1s", "<=", CLOSED),
    ("lip correlation", "audio_driven.lip_correlation", ">=", 0.55),
    ("lip correlation above loudness", "audio_driven.above_loudness", ">=", 0.3),
    ("lips of shuffled speech, correlation", "audio_driven.shuffled", "<=", 0.1),
    ("spread of the opening", "audio_driven.spread_ratio", ">=", 0.8),
    ("spread of the opening", "audio_driven.spread_ratio", "<=", 1.25),
    ("closures of the lips, F1", "audio_driven.closures.f1", ">=", 0.7),
    ("lips in silence over lips in speech", "audio_driven.silence_ratio", "<=", 0.08),
    ("blinks a minute", "audio_driven.presence.made.blinks_per_minute", ">=", 5),
    ("blinks a minute", "audio_driven.presence.made.blinks_per_minute", "<=", 30),
    ("background outside the head (of 255)", "audio_driven.presence.made.background_change", "<=", 1),
    ("seams, percentile of their speed", "audio_driven.seams.percentile", "<=", 95),
    ("held still, identity percentile", "held_still.percentile", ">=", 90),
)


def check_targets(report: dict) -> list[tuple[str, float, str, bool]]:
    """(what, value, limit, reached) of every target whose figure is in the report."""
    rows = []
    for what, path, side, limit in TARGETS:
        value: Any = report
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            reached = value >= limit if side == ">=" else value <= limit
            rows.append((what, float(value), f"{side} {limit:.3g}", bool(reached)))
    return rows
