"""What makes a study of scripts.ablate."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


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
