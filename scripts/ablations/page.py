"""The page of a study in Markdown: a table of arms, differences clip by clip, notes."""

from __future__ import annotations

from scripts.ablations.base import Study
from scripts.evaluation.metrics import interval
from scripts.markdown import table


def page(study: Study, command: str, report: dict) -> str:
    """The whole page. report: plan; arms, name -> scores and minutes; baselines of the study."""
    arms, columns = report["arms"], study.columns
    headings = [column.heading + (" ↑" if column.higher_is_better else " ↓") for column in columns.values()]
    scores = {study.arms[arm][0]: by_name(stored) for arm, stored in arms.items()} | study.references(report)
    rows = [
        [name, *(cell(by_key.get(key), column.digits) for key, column in columns.items())]
        for name, by_key in scores.items()
    ]
    minutes = sum(stored["minutes"] for stored in arms.values())
    blocks = [
        f"# {study.title}",
        f"Made by `{command}`; do not edit.\n{study.introduction.format(**report['plan'])}",
        table(["arm", *headings], rows),
        differences(study, arms),
        study.notes(report),
        f"All arms together took {minutes:.0f} minutes, training and scoring.",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def summary(study: Study, stored: dict) -> str:
    """An arm's scores in a line."""
    scores, columns = by_name(stored), study.columns.items()
    return ", ".join(f"{column.heading} {cell(scores.get(key), column.digits)}" for key, column in columns)


def by_name(stored: dict) -> dict:
    """Scores of an arm by name; most of a decoder's stand in `model`."""
    return stored["scores"] | stored["scores"].get("model", {})


def cell(score: dict | float | None, digits: int) -> str:
    """A number, or a mean with its interval; empty for what was not measured."""
    if score is None:
        return ""
    if not isinstance(score, dict):
        return f"{score:.{digits}f}"
    low, high = score["interval"]
    return f"{score['mean']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def differences(study: Study, arms: dict) -> str:
    """Table of one arm minus another, clip by clip: the pairs of the study, else every arm and the first."""
    scores = {arm: by_name(stored) for arm, stored in arms.items()}
    first = next(iter(scores))
    pairs = study.pairs or [(study.arms[arm][0], arm, first) for arm in arms]
    pairs = [(name, arm, other) for name, arm, other in pairs if arm != other and arm in arms and other in arms]
    if not pairs:
        return ""
    paired = [key for key, score in scores[first].items() if isinstance(score, dict) and "clips" in score]
    columns = {key: column for key, column in study.columns.items() if key in paired}
    rows = [
        [name, *(difference(scores[arm].get(n), scores[other].get(n), column.digits) for n, column in columns.items())]
        for name, arm, other in pairs
    ]
    title = f"Differences, clip by clip, {'of two arms' if study.pairs else 'to the first row'}:"
    headings = ["arm", *(column.heading for column in columns.values())]
    return f"{title}\n\n{table(headings, rows)}\n\n\\* the interval leaves out zero."


def difference(score: dict | None, other: dict | None, digits: int) -> str:
    """Mean difference of two scores of the same clips, with its interval."""
    if score is None or other is None:
        return ""
    off = [a - b for a, b in zip(score["clips"], other["clips"], strict=True)]
    low, high = interval(off)
    mark = " *" if low > 0 or high < 0 else ""
    return f"{sum(off) / len(off):+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]{mark}"
