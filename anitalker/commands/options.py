"""Flags that several commands share, and how progress is told."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import fields
from typing import NoReturn

from anitalker.config import LITE_GUIDANCE, LITE_STEPS, ORIGINAL_STEPS, InputError, RenderOptions

DEFAULTS = {field.name: field.default for field in fields(RenderOptions)}


class Parser(argparse.ArgumentParser):
    """Usage errors become InputError: one line, exit status 2."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{' '.join(message.split())}; see `{self.prog} --help`")


def output_flag(parser: Parser, name: str) -> None:
    """-o, which every command that writes one file needs."""
    parser.add_argument("-o", "--output", required=True, metavar=name)


def motion_flags(parser: Parser) -> None:
    """How the head and the lips move."""
    group = parser.add_argument_group("motion")
    seed_flag(group)
    group.add_argument(
        "--steps",
        type=int,
        default=DEFAULTS["steps"],
        help=f"sampler steps (default: {LITE_STEPS}, original {ORIGINAL_STEPS})",
    )
    group.add_argument(
        "--guidance",
        type=float,
        default=DEFAULTS["guidance"],
        help=f"weight of speech (default: {LITE_GUIDANCE}; the original has none)",
    )
    for name in ("yaw", "pitch", "roll"):
        group.add_argument(f"--{name}", type=float, metavar="DEGREES", help=f"keep this {name}")
    group.add_argument("--pose", metavar="FILE.npy", help="[T,3] degrees: yaw, pitch, roll per frame")
    group.add_argument("--scale", type=float, help="size of the head, 1 is the portrait's")
    group.add_argument("--location", type=float, help="shift of the head to the right, in face-crop widths")
    group.add_argument("--still", action="store_true", help="the head stays; lips and eyes still move")
    factor_flags(group)


def seed_flag(group) -> None:
    """--seed."""
    group.add_argument(
        "--seed", type=int, default=DEFAULTS["seed"], help="same seed, same motion (default: %(default)s)"
    )


def factor_flags(group) -> None:
    """How far lips, head and lids move."""
    for name, what in (("lips", "lips"), ("head", "head"), ("blink", "lids")):
        group.add_argument(
            f"--{name}", type=float, default=DEFAULTS[name], help=f"how far the {what} move, 0 to 2 (default: 1)"
        )


def picture_flags(parser: Parser) -> None:
    """What is seen of the portrait."""
    group = parser.add_argument_group("picture")
    group.add_argument("--frame", choices=("full", "crop"), default=DEFAULTS["frame"], help="default: %(default)s")
    group.add_argument("--face", default=DEFAULTS["face"], metavar="INDEX|largest|all", help="default: %(default)s")
    group.add_argument(
        "--batch-size",
        type=int,
        default=DEFAULTS["batch_size"],
        help="frames at once (default: 8; on an NVIDIA card by its free memory)",
    )
    backend_flag(group)
    group.add_argument(
        "--enhance",
        choices=("gfpgan",),
        default=DEFAULTS["enhance"],
        help="draw the portrait's faces again, clearer, before they move (extra `enhance`; default: no)",
    )
    marks_flags(parser)


def marks_flags(parser: Parser) -> None:
    """What tells people and machines that a video is synthetic."""
    group = parser.add_argument_group("marks")
    group.add_argument("--label", action="store_true", help="the words `AI-generated` in the corner of every frame")
    group.add_argument(
        "--no-marks",
        dest="marks",
        action="store_false",
        help="no credentials and no watermark. The law may ask for them: Article 50 of the EU's AI Act wants synthetic "
        "video marked so that machines can tell, China's labelling rules ask the same and a visible label",
    )


def backend_flag(parser) -> None:
    """Who finds faces."""
    choices = ("own", "face-alignment")
    parser.add_argument(
        "--face-backend", choices=choices, default=DEFAULTS["face_backend"], help="default: %(default)s"
    )


def shared_flags(parser: Parser) -> None:
    """Which model, where, and --json."""
    parser.add_argument(
        "--model", default="lite", metavar="NAME|FILE", help="default: %(default)s; original: the published networks"
    )
    group = parser.add_argument_group("files of --model original, by name (see `anitalker models list`) or path")
    group.add_argument("--stage1", metavar="NAME|FILE", help="encoder and decoder (default: stage1)")
    group.add_argument("--stage2", metavar="NAME|FILE", help="motion generator (default: one that is here)")
    group.add_argument("--hubert", metavar="FOLDER|NAME", help="HuBERT's weights, for variants that hear with it")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    device_flag(parser)


def device_flag(parser: Parser) -> None:
    """Where the networks run."""
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="default: %(default)s")


def options_of(arguments: argparse.Namespace) -> RenderOptions:
    """The flags that are render options; checked by RenderOptions itself."""
    given = vars(arguments)
    return RenderOptions(**{name: given[name] for name in DEFAULTS if name in given})


def model_of(arguments: argparse.Namespace) -> dict:
    """The flags that say which model and where."""
    return {"name": arguments.model, **{key: vars(arguments)[key] for key in ("device", "stage1", "stage2", "hubert")}}


class Progress:
    """progress(stage, done, total): a bar on a terminal, otherwise a plain line at most every five seconds."""

    def __init__(self) -> None:
        self.stage, self.bar, self.told = None, None, 0.0
        self.terminal = sys.stderr.isatty()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self.terminal:
            self._draw(stage, done, total)
        elif stage != self.stage or done == total or time.monotonic() - self.told > 5:
            print(f"{stage} {done}/{total}", file=sys.stderr, flush=True)
            self.told = time.monotonic()
        self.stage = stage

    def _draw(self, stage: str, done: int, total: int) -> None:
        from tqdm import tqdm

        if stage != self.stage:
            self.close()
            self.bar = tqdm(total=total, desc=stage, file=sys.stderr, leave=True)
        self.bar.update(done - self.bar.n)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish the bar's line."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
