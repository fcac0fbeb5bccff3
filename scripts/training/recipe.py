"""Settings that every training has, and the options that all training commands share."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import Field, dataclass, field, fields, replace

from anitalker.config import InputError

AT_LEAST_ONE = ("steps", "batch", "accumulate", "log_every", "scales")


def setting(default, description: str, choices: tuple | None = None):
    """A field of a recipe: its default, what it means, what is allowed."""
    return field(default=default, metadata={"help": description, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What `engine.fit` needs to know of a training."""

    steps: int = setting(5000, "steps, exactly")
    batch: int = setting(24, "examples at once in one process")
    accumulate: int = setting(1, "batches whose gradients make one step")
    lr: float = setting(1e-3, "highest learning rate")
    warm: int = setting(200, "steps until it is reached")
    clip: float = setting(5.0, "longest gradient")
    decay: float = setting(0.997, "of the running mean of the weights (EMA), which is what is exported")
    score: int = setting(500, "steps between scores on val; 0: never")
    save_every: float = setting(120.0, "seconds between checkpoints")
    log_every: int = setting(25, "steps between lines of progress")


def add_old_names(parser, names: dict[str, str], **options) -> None:
    """Old spellings of options, {old: new}; --help does not show them."""
    for old, new in names.items():
        parser.add_argument(f"--{old}", dest=new, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **options)


def training_parser(
    description: str, settings: Recipe | Iterable[Field], out: str | None, device: str = "auto", threads: int = 0
) -> argparse.ArgumentParser:
    """A parser with the options of every training: those of its run folder (`out` None: it must be named) and each
    setting, of a recipe that has the defaults, or of several. Settings are not in the namespace unless given.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    text = "folder of checkpoints, weights and logs; a run that is there is continued"
    parser.add_argument("--out", default=out, required=out is None, help=text)
    parser.add_argument("--start", help="run folder, or weights, whose networks to begin with")
    parser.add_argument("--device", default=device, help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=int, default=threads, help="CPU threads; 0 leaves it to torch")
    parser.add_argument("--seed", type=int, default=0)
    group = parser.add_argument_group("settings")
    for known in fields(settings) if isinstance(settings, Recipe) else settings:
        kind, choices, text = type(known.default), known.metadata["choices"], known.metadata["help"]
        options = {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind, "choices": choices}
        if kind is not bool and not choices:
            options["metavar"] = "N"
        if isinstance(settings, Recipe):
            text = f"{text} ({getattr(settings, known.name)})"
        group.add_argument("--" + known.name.replace("_", "-"), default=argparse.SUPPRESS, help=text, **options)
    if out is not None:  # trainings of version 0.1 with other spellings
        add_old_names(parser, {"run": "out"})
        add_old_names(parser, {"rate": "lr"}, type=float)
        add_old_names(parser, {"validate-every": "score"}, type=int)
    return parser


def given_settings(options: argparse.Namespace, names: Iterable[str]) -> dict:
    """Take what was given of these settings out of the options; InputError for a number that must be 1 or more."""
    given = {name: vars(options).pop(name) for name in names if name in vars(options)}
    for name in AT_LEAST_ONE:
        if given.get(name, 1) < 1:
            raise InputError(f"{name} is {given[name]}; allowed is 1 or more")
    return given


def take_recipe(options: argparse.Namespace, recipe: Recipe) -> Recipe:
    """The recipe under what was given on the command line."""
    return replace(recipe, **given_settings(options, [known.name for known in fields(recipe)]))


def add_dtype(parser) -> None:
    """--dtype, and the flag that it was."""
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16", help="of the matrix products")
    for old, dtype in (("bf16", "bfloat16"), ("no-bf16", "float32")):
        add_old_names(parser, {old: "dtype"}, action="store_const", const=dtype)


def add_features_dir(parser) -> None:
    """--features-dir, and what it was called."""
    parser.add_argument("--features-dir", default="runs/features", help="folder made by scripts.extract_features")
    add_old_names(parser, {"features": "features_dir"})


def command(main: Callable[[Sequence[str] | None], None]) -> Callable[[Sequence[str] | None], int]:
    """A command whose exit status is 0, or 2 after an InputError, which is printed as one line."""

    @functools.wraps(main)
    def with_status(arguments: Sequence[str] | None = None) -> int:
        try:
            main(arguments)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        return 0

    return with_status
