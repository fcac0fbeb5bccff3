"""The report for people: figures with their intervals, targets, and a Markdown page beside the contact sheets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scripts.markdown import table

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
    ("open mouths in silence, mean opening after 1 s", "open_mouths.opening_after_1s", "<=", 0.025),
    ("lip correlation", "audio_driven.lip_correlation", ">=", 0.55),
    ("lip correlation above loudness", "audio_driven.above_loudness", ">=", 0.3),
    ("lips of shuffled speech, correlation", "audio_driven.shuffled", "<=", 0.1),
    ("spread of the opening", "audio_driven.spread_ratio", ">=", 0.8),
    ("spread of the opening", "audio_driven.spread_ratio", "<=", 1.25),
    ("closures of the lips, F1", "audio_driven.closures.f1", ">=", 0.7),
    ("lips in silence over lips in speech", "audio_driven.silence_ratio", "<=", 0.08),
    ("lips of filmed speakers, correlation", "lips.filmed.lip_correlation", ">=", 0.6),
    ("lips of generated speakers, correlation", "lips.generated.lip_correlation", ">=", 0.65),
    ("lips of filmed speakers, above loudness", "lips.filmed.above_loudness", ">=", 0.38),
    ("lips of filmed speakers, shuffled speech", "lips.filmed.shuffled", "<=", 0.05),
    ("lips of filmed speakers, spread", "lips.filmed.spread_ratio", ">=", 0.9),
    ("lips of filmed speakers, spread", "lips.filmed.spread_ratio", "<=", 1.1),
    ("lips of filmed speakers, closures, F1", "lips.filmed.closures.f1", ">=", 0.65),
    ("lips of filmed speakers, closures, precision", "lips.filmed.closures.precision", ">=", 0.6),
    ("lips of filmed speakers, stream behind offline", "lips.stream.filmed.behind_offline", "<=", 0.03),
    ("blinks a minute", "audio_driven.presence.made.blinks_per_minute", ">=", 5),
    ("blinks a minute", "audio_driven.presence.made.blinks_per_minute", "<=", 30),
    ("background outside the head (of 255)", "audio_driven.presence.made.background_change", "<=", 1),
    ("seams, percentile of their speed", "audio_driven.seams.percentile", "<=", 95),
    ("dubbed lips behind rendered ones, correlation", "dub.behind_render", "<=", 0.05),
    ("dubbed, identity percentile", "dub.identity.made.percentile", ">=", 99),
    ("dubbed, upper face against the source, encoded (dB)", "dub.upper_face_psnr", ">=", 45),
    ("dubbed, change along the border over the source's", "dub.border_change", "<=", 1.1),
    ("dubbed with silence, flicker over the source's", "dub.flicker", "<=", 1.15),
    ("held still, identity percentile", "held_still.percentile", ">=", 90),
)
MAIN = ("lip_correlation", "percentile", "mean", "difference", "accuracy", "f1", "value")  # whose is plain `interval`


def check_targets(report: dict) -> list[tuple[str, float, str, bool]]:
    """(what, value, limit, reached) of every target whose figure is in the report."""
    rows = []
    for what, path, side, limit in TARGETS:
        value: Any = report
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            rows.append((what, float(value), f"{side} {limit:.3g}", value >= limit if side == ">=" else value <= limit))
    return rows


def flat(values: dict, prefix: str = "") -> list[tuple[str, str, str]]:
    """(name, value, interval) of every figure of a part; lists of figures per clip are left to the JSON."""
    rows = []
    for key, value in values.items():
        if isinstance(value, dict) and key != "interval":
            rows += flat(value, f"{prefix}{key}.")
        elif not isinstance(value, dict | list) and not key.endswith("_interval"):
            intervals = values.get("interval")
            if not isinstance(intervals, dict):
                intervals = {key: intervals if key in MAIN else values.get(f"{key}_interval")}
            bounds = intervals.get(key)
            rows.append((f"{prefix}{key}", number(value), f"[{', '.join(map(number, bounds))}]" if bounds else ""))
    return rows


def number(value: object) -> str:
    """A figure with four digits."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def page(report: dict, sheets: list[str]) -> str:
    """The report in Markdown. sheets: names of PNG files beside it."""
    targets = [
        (what, number(value), limit, "reached" if reached else "missed")
        for what, value, limit, reached in check_targets(report)
    ]
    facts = [(name, value) for name, value in report.items() if not isinstance(value, dict)]
    blocks = [f"# {report['model']} on {report['split']}" if "model" in report else "# Videos", table(("", ""), facts)]
    blocks += ["## Targets", table(("", "value", "wanted", ""), targets)]
    for name, values in report.items():
        if isinstance(values, dict):
            blocks += [f"## {name}", table(("", "value", "95% interval"), flat(values))]
    return "\n\n".join([*blocks, *(f"![{sheet}]({sheet})" for sheet in sheets)]) + "\n"


def write(report: dict, folder: str | Path) -> Path:
    """FOLDER/report.json, and FOLDER/report.md beside the sheets that are there; the path of the page."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=1))
    path = folder / "report.md"
    path.write_text(page(report, sorted(file.name for file in folder.glob("*.png"))), encoding="utf-8")
    return path
