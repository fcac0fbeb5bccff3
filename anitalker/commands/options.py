"""Options that several commands share, and the progress bar."""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import fields
from typing import TYPE_CHECKING, NoReturn

from anitalker.config import (
    EMOTIONS,
    EXPRESSIONS,
    GAZES,
    LABEL_LANGUAGES,
    LITE_GUIDANCE,
    LITE_STEPS,
    ORIGINAL_STEPS,
    InputError,
    RenderOptions,
)

if TYPE_CHECKING:
    from tqdm import tqdm

DEFAULTS = {field.name: field.default for field in fields(RenderOptions)}
PRINT_SECONDS = 5  # between two lines of progress where there is no terminal


class Parser(argparse.ArgumentParser):
    """A parser whose usage errors are InputErrors: one line, exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError instead of printing the usage."""
        raise InputError(f"{' '.join(message.split())}; see `{self.prog} --help`")


def add_output_option(parser: Parser, name: str) -> None:
    """Add -o, the output, which is required."""
    parser.add_argument("-o", "--output", required=True, metavar=name)


def add_video_output_option(parser: Parser) -> None:
    """Add -o of a video, whose suffix decides on the format."""
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT.mp4",
        help="also .mov, .webm (VP9, Opus), and, without sound, .gif, .webp, or a sequence: FOLDER/frame-%%04d.png",
    )


def add_motion_options(parser: Parser) -> None:
    """Add the options that decide how head and lips move."""
    group = parser.add_argument_group("motion")
    add_seed_option(group)
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
    add_strength_options(group)
    add_expression_options(group)


def add_expression_options(group: argparse._ArgumentGroup, timeline: bool = True) -> None:
    """Add --emotion, --expression, --gaze and, where the whole video is made at once, --timeline."""
    group.add_argument(
        "--emotion",
        default=DEFAULTS["emotion"],
        metavar="NAME[:0..1]",
        help=f"how the face looks: {', '.join(EMOTIONS)}",
    )
    group.add_argument(
        "--expression",
        default=DEFAULTS["expression"],
        metavar="NAME=-1..1,...",
        help=f"single expressions: {', '.join(EXPRESSIONS)}",
    )
    group.add_argument(
        "--gaze",
        default=DEFAULTS["gaze"],
        metavar=f"{'|'.join(GAZES)}|X,Y",
        help="where the eyes look: natural (the default), into the camera and aside for a moment at pauses; camera; "
        "portrait, as there; or degrees to the right and up in the picture (--gaze=-10,5)",
    )
    if timeline:
        group.add_argument("--timeline", metavar="FILE.csv|json", help="expressions, emotions and gaze over time")


def add_seed_option(group: argparse._ArgumentGroup) -> None:
    """Add --seed."""
    group.add_argument(
        "--seed", type=int, default=DEFAULTS["seed"], help="same seed, same motion (default: %(default)s)"
    )


def add_strength_options(group: argparse._ArgumentGroup) -> None:
    """Add --lips, --head and --blink: how far each of them moves."""
    for name, what in (("lips", "lips"), ("head", "head"), ("blink", "lids")):
        group.add_argument(
            f"--{name}", type=float, default=DEFAULTS[name], help=f"how far the {what} move, 0 to 2 (default: 1)"
        )


def add_speech_for_option(parser: Parser) -> None:
    """Add --speech-for."""
    parser.add_argument(
        "--speech-for",
        action="append",
        default=[],
        metavar="INDEX=FILE",
        help="this face (an index of `anitalker faces`) speaks a recording of its own; may be repeated",
    )


def add_size_option(group: argparse._ActionsContainer, default: int | str = RenderOptions.size) -> None:
    """Add --size."""
    group.add_argument(
        "--size",
        default=default,
        metavar="N|original",
        help="the video's shorter side in pixels at most; original: as large as the picture (default: %(default)s)",
    )


def add_also_option(group: argparse._ActionsContainer, metavar: str = "PHOTO") -> None:
    """Add --also."""
    group.add_argument(
        "--also",
        action="append",
        default=[],
        metavar=metavar,
        help="another picture of the same person (open mouth, smile, turned head), whose teeth serve; may be repeated",
    )


def add_face_option(group: argparse._ActionsContainer) -> None:
    """Add --face."""
    group.add_argument("--face", default=DEFAULTS["face"], metavar="INDEX|largest|all", help="default: %(default)s")


def add_picture_options(parser: Parser) -> None:
    """Add the options for the picture: frame, faces, enhancement and marks."""
    group = parser.add_argument_group("picture")
    add_also_option(group)
    add_size_option(group)
    group.add_argument("--frame", choices=("full", "crop"), default=DEFAULTS["frame"], help="default: %(default)s")
    add_face_option(group)
    group.add_argument(
        "--batch-size",
        type=int,
        default=DEFAULTS["batch_size"],
        help="frames at once (default: 8; on an NVIDIA card by its free memory)",
    )
    add_face_backend_option(group)
    group.add_argument(
        "--background",
        default=DEFAULTS["background"],
        metavar="keep|transparent|blur|COLOUR|FILE",
        help="what is behind the people: as it is, nothing (.webm, .mov, .webp, .gif, .png), the same out of focus, a "
        "colour such as white or #1e90ff, a picture, or a video, which is repeated (default: %(default)s)",
    )
    group.add_argument(
        "--aspect",
        choices=("9:16", "1:1", "16:9"),
        default=DEFAULTS["aspect"],
        help="proportions of the video: a blurred copy of the picture fills what is around it (default: the picture's)",
    )
    group.add_argument("--subtitles", metavar="FILE.srt", help="what is said, as texts with their times")
    group.add_argument(
        "--subtitles-as",
        choices=("burnt", "track"),
        default=DEFAULTS["subtitles_as"],
        help="drawn into the picture, as posts need them, or a track that players can show (default: %(default)s)",
    )
    group.add_argument(
        "--enhance",
        choices=("gfpgan",),
        default=DEFAULTS["enhance"],
        help="draw the portrait's faces again, clearer, before they move (extra `enhance`; default: no)",
    )
    add_marks_options(parser)


def add_encoding_options(parser: Parser) -> None:
    """Add --quality and --codec: how the video is encoded."""
    group = parser.add_argument_group("encoding")
    group.add_argument(
        "--quality",
        type=int,
        default=DEFAULTS["quality"],
        metavar="N",
        help="constant rate factor, 0 to 51: less is better and larger, 0 loses nothing (default: %(default)s)",
    )
    group.add_argument("--codec", choices=("h264", "hevc"), default=DEFAULTS["codec"], help="default: %(default)s")


class _SetTimestamp(argparse.Action):
    """Puts the address into the variable that every process of the command reads, those of batch workers too."""

    def __call__(self, parser, namespace, values, option_string=None):
        from anitalker.provenance.identity import TIMESTAMP_VARIABLE, check_timestamp_url

        os.environ[TIMESTAMP_VARIABLE] = check_timestamp_url(str(values))


def add_timestamp_option(parser: argparse._ActionsContainer) -> None:
    """Add --timestamp."""
    parser.add_argument(
        "--timestamp",
        action=_SetTimestamp,
        default=argparse.SUPPRESS,
        metavar="URL",
        help="an authority (RFC 3161) that stamps the time of the credentials: it gets a hash, nothing else "
        "(default: ANITALKER_TIMESTAMP, or none)",
    )


def add_marks_options(parser: Parser) -> None:
    """Add --label and --no-marks: whether people and machines can tell that a video is synthetic."""
    group = parser.add_argument_group("marks")
    group.add_argument("--label", action="store_true", help="the words `AI-generated` in the corner of every frame")
    group.add_argument(
        "--label-language",
        choices=LABEL_LANGUAGES,
        default=DEFAULTS["label_language"],
        help="language of these words (default: %(default)s)",
    )
    group.add_argument(
        "--label-style",
        choices=("words", "icon"),
        default=DEFAULTS["label_style"],
        help="words, or a mark at the upper right: AI GENERATED, or, of a dub, AI MODIFIED (default: %(default)s)",
    )
    group.add_argument(
        "--label-seconds", type=float, metavar="N", help="the label at the beginning only (default: throughout)"
    )
    add_timestamp_option(group)
    group.add_argument(
        "--no-marks",
        dest="marks",
        action="store_false",
        help="no credentials and no watermark. The law may ask for them: Article 50 of the EU's AI Act wants synthetic "
        "video marked so that machines can tell, China's labelling rules ask the same and a visible label",
    )


def add_driver_face_option(parser: argparse._ActionsContainer) -> None:
    """Add --driver-face."""
    parser.add_argument(
        "--driver-face",
        default="largest",
        metavar="INDEX|largest",
        help="which face of the driving video, by its index in `anitalker faces VIDEO` (default: %(default)s)",
    )


def add_face_backend_option(parser: argparse._ActionsContainer) -> None:
    """Add --face-backend."""
    choices = ("own", "face-alignment")
    parser.add_argument(
        "--face-backend", choices=choices, default=DEFAULTS["face_backend"], help="default: %(default)s"
    )


def add_common_options(parser: Parser) -> None:
    """Add --model and its files, --device and --json."""
    parser.add_argument(
        "--model", default="lite", metavar="NAME|FILE", help="default: %(default)s; original: the published networks"
    )
    group = parser.add_argument_group("files of --model original, by name (see `anitalker models list`) or path")
    group.add_argument("--stage1", metavar="NAME|FILE", help="encoder and decoder (default: stage1)")
    group.add_argument("--stage2", metavar="NAME|FILE", help="motion generator (default: one that is on this machine)")
    group.add_argument("--hubert", metavar="FOLDER|NAME", help="HuBERT's weights, for variants that use it")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    add_device_option(parser)


def add_device_option(parser: Parser) -> None:
    """Add --device."""
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="default: %(default)s")


def to_render_options(arguments: argparse.Namespace) -> RenderOptions:
    """Collect the render options. RenderOptions checks them and raises InputError."""
    values = vars(arguments)
    if "also" in values:
        values = {**values, "also": tuple(values["also"])}
    return RenderOptions(**{name: values[name] for name in DEFAULTS if name in values})


def to_load_arguments(arguments: argparse.Namespace) -> dict:
    """Collect the arguments of `pipeline.load`."""
    return {"name": arguments.model, **{key: vars(arguments)[key] for key in ("device", "stage1", "stage2", "hubert")}}


class ProgressBar:
    """A progress callback: a bar on a terminal, otherwise a plain line at most every PRINT_SECONDS."""

    def __init__(self) -> None:
        self.stage: str | None = None
        self.bar: tqdm | None = None
        self.last_print = 0.0
        self.terminal = sys.stderr.isatty()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` steps of `stage` are finished."""
        if self.terminal:
            self._update_bar(stage, done, total)
        elif stage != self.stage or done == total or time.monotonic() - self.last_print > PRINT_SECONDS:
            print(f"{stage} {done}/{total}", file=sys.stderr, flush=True)
            self.last_print = time.monotonic()
        self.stage = stage

    def _update_bar(self, stage: str, done: int, total: int) -> None:
        from tqdm import tqdm

        if self.bar is None or stage != self.stage:
            self.close()
            self.bar = tqdm(total=total, desc=stage, file=sys.stderr, leave=True)
        self.bar.update(done - self.bar.n)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the line of the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
