"""What makes a study of scripts.ablate, and its page in Markdown: a table of arms, differences clip by clip, notes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from scripts.evaluation.metrics import interval, mean
from scripts.markdown import table


class Column(NamedTuple):
    """Of the table: heading, digits, whether more is better."""

    heading: str
    digits: int
    higher_is_better: bool


@dataclass(frozen=True, kw_only=True)
class Study:
    """Arms that are trained alike and scored alike.

    file           names the folder of the arms and the page: runs/FILE, docs/FILE.md
    introduction   of the page, with the {names} of the plan
    arms           name -> (what it is, its own flags of scripts.train_motion_space)
    usual          arms that are trained unless --arms says otherwise; none: all
    columns        of the table, by score
    plan           options that all arms share and that may not change in a folder
    batch, steps   of every arm unless the command says otherwise; steps None: as many as fit into the minutes
    settings       (options, steps) -> flags of scripts.train_motion_space that all arms share
    score          (run folder, options) -> scores, each a number or a dict of mean, interval and perhaps clips
    pairs          (question, arm, other arm) whose differences are told; none: every arm against the first
    baselines      options -> what is measured once, for the report beside plan and arms
    references     report -> {name: scores} of rows below the arms
    notes          report -> end of the page
    """

    file: str
    title: str
    settings: Callable[[Namespace, int], dict]
    score: Callable[[Path, Namespace], dict]
    introduction: str
    arms: dict[str, tuple[str, tuple[str, ...]]]
    columns: dict[str, Column]
    plan: tuple[str, ...]
    batch: int
    steps: int | None = None
    usual: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str, str], ...] = ()
    baselines: Callable[[Namespace], dict] = lambda options: {}
    references: Callable[[dict], dict[str, dict]] = lambda report: {}
    notes: Callable[[dict], str] = lambda report: ""


def page(study: Study, command: str, report: dict) -> str:
    """The whole page. report: plan; arms, name -> scores and minutes; baselines of the study."""
    arms, columns = report["arms"], study.columns
    headings = [column.heading + (" ↑" if column.higher_is_better else " ↓") for column in columns.values()]
    scores = {study.arms[arm][0]: by_name(stored) for arm, stored in arms.items()} | study.references(report)
    rows = [
        [name, *(cell(by_key.get(key), column.digits) for key, column in columns.items())]
        for name, by_key in scores.items()
    ]
    blocks = [
        f"# {study.title}",
        f"Made by `{command}`; do not edit.\n{study.introduction.format(**report['plan'])}",
        table(["arm", *headings], rows),
        differences(study, arms),
        study.notes(report),
        f"All arms together took {sum(arm['minutes'] for arm in arms.values()):.0f} minutes, training and scoring.",
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


def by_name(stored: dict) -> dict:
    """Scores of an arm by name; most of a decoder's stand in `model`."""
    return stored["scores"] | stored["scores"].get("model", {})


def cell(score: dict | float | None, digits: int, sign: str = "") -> str:
    """A number, or a mean with its interval; empty for what was not measured."""
    if score is None:
        return ""
    if not isinstance(score, dict):
        return f"{score:.{digits}f}"
    value, low, high = (f"{number:{sign}.{digits}f}" for number in (score["mean"], *score["interval"]))
    return f"{value} [{low}, {high}]"


def clip_scores(values: list[float]) -> dict:
    """One number per clip -> mean, interval over clips, and the numbers themselves."""
    return {"mean": mean(values), "interval": interval(values), "clips": values}


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
    paired = clip_scores([a - b for a, b in zip(score["clips"], other["clips"], strict=True)])
    low, high = paired["interval"]
    return cell(paired, digits, sign="+") + (" *" if low > 0 or high < 0 else "")
