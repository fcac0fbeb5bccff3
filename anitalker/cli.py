"""The command line: flags -> RenderOptions -> Talker; progress on stderr, results on stdout, errors in one line."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from typing import NoReturn

from anitalker import __version__
from anitalker.config import FPS, LITE_GUIDANCE, LITE_STEPS, ORIGINAL_STEPS, InputError, RenderOptions

DEFAULTS = {field.name: field.default for field in fields(RenderOptions)}


class Parser(argparse.ArgumentParser):
    """Usage errors become InputError: one line, exit status 2."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{' '.join(message.split())}; see `{self.prog} --help`")


def build_parser() -> Parser:
    """Every command and flag; loads nothing heavy."""
    parser = Parser(prog="anitalker", description="One portrait and a speech recording in, a video out.")
    parser.add_argument("--version", action="version", version=f"anitalker {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    render = commands.add_parser("render", help="a portrait speaks a recording")
    render.add_argument("portrait", help="picture with a face")
    render.add_argument("speech", help="any audio, or video with sound")
    _output(render, "OUT.mp4")
    _motion_flags(render)
    _picture_flags(render)
    _shared(render)

    reenact = commands.add_parser("reenact", help="a portrait moves like the face in a video")
    reenact.add_argument("portrait", help="picture with a face")
    reenact.add_argument("video", help="driving video; its sound is kept")
    reenact.add_argument(
        "--absolute", action="store_true", help="the video's own poses, not relative to its first frame"
    )
    _output(reenact, "OUT.mp4")
    _picture_flags(reenact)
    _shared(reenact)

    faces = commands.add_parser("faces", help="the faces found in a picture")
    faces.add_argument("picture")
    _backend(faces)
    faces.add_argument("--json", action="store_true", help="with landmarks, as one JSON object")
    _device(faces)

    encode = commands.add_parser("encode", help="motion and identity codes of a video, for reuse and research")
    encode.add_argument("video")
    _output(encode, "MOTION.safetensors")
    _backend(encode)
    _shared(encode)

    models = commands.add_parser("models", help="the known weights: list, fetch NAME..., convert IN OUT.safetensors")
    models.add_argument("action", nargs="?", choices=("list", "fetch", "convert"), default="list")
    models.add_argument("names", nargs="*", metavar="NAME | IN OUT.safetensors", help="what to fetch or convert")
    models.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    return parser


def _output(parser: Parser, name: str) -> None:
    parser.add_argument("-o", "--output", required=True, metavar=name)


def _motion_flags(parser: Parser) -> None:
    group = parser.add_argument_group("motion")
    group.add_argument(
        "--seed", type=int, default=DEFAULTS["seed"], help="same seed, same motion (default: %(default)s)"
    )
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


def _picture_flags(parser: Parser) -> None:
    group = parser.add_argument_group("picture")
    group.add_argument("--frame", choices=("full", "crop"), default=DEFAULTS["frame"], help="default: %(default)s")
    group.add_argument("--face", default=DEFAULTS["face"], metavar="INDEX|largest|all", help="default: %(default)s")
    group.add_argument(
        "--batch-size", type=int, default=DEFAULTS["batch_size"], help="frames at once (default: %(default)s)"
    )
    _backend(group)


def _backend(parser) -> None:
    choices = ("own", "face-alignment")
    parser.add_argument(
        "--face-backend", choices=choices, default=DEFAULTS["face_backend"], help="default: %(default)s"
    )


def _shared(parser: Parser) -> None:
    parser.add_argument(
        "--model", default="lite", metavar="NAME|FILE", help="default: %(default)s; original: the published networks"
    )
    group = parser.add_argument_group("files of --model original, by name (see `anitalker models list`) or path")
    group.add_argument("--stage1", metavar="NAME|FILE", help="encoder and decoder (default: stage1)")
    group.add_argument("--stage2", metavar="NAME|FILE", help="motion generator (default: one that is here)")
    group.add_argument("--hubert", metavar="FOLDER|NAME", help="HuBERT's weights, for variants that hear with it")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    _device(parser)


def _device(parser: Parser) -> None:
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="default: %(default)s")


def _options(arguments: argparse.Namespace) -> RenderOptions:
    """The flags that are render options; checked by RenderOptions itself."""
    given = vars(arguments)
    return RenderOptions(**{name: given[name] for name in DEFAULTS if name in given})


def _model(arguments: argparse.Namespace) -> dict:
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

    def close(self) -> None:
        """Finish the bar's line."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def _render(arguments: argparse.Namespace) -> dict:
    from anitalker.pipeline import load
    from anitalker.video import check_output

    options = _options(arguments)
    check_output(arguments.output)  # before anything slow
    talker, progress = load(**_model(arguments)), Progress()
    drive = talker.render if arguments.command == "render" else talker.reenact
    source = arguments.speech if arguments.command == "render" else arguments.video
    extra = {} if arguments.command == "render" else {"relative": not arguments.absolute}
    try:
        return drive(arguments.portrait, source, arguments.output, options, progress=progress, **extra)
    finally:
        progress.close()


def _faces(arguments: argparse.Namespace) -> dict:
    from anitalker.pipeline import find_faces

    return find_faces(arguments.picture, arguments.face_backend, arguments.device)


def _encode(arguments: argparse.Namespace) -> dict:
    from anitalker.motion_files import write_codes
    from anitalker.pipeline import load
    from anitalker.video import check_output

    output = check_output(arguments.output, ".safetensors")
    talker, progress = load(**_model(arguments)), Progress()
    try:
        motion, identity = talker.encode(arguments.video, backend=arguments.face_backend, progress=progress)
    finally:
        progress.close()
    write_codes(output, motion, identity)
    return {"output": str(output), "frames": len(motion), "fps": FPS, "model": talker.name}


def _models(arguments: argparse.Namespace) -> dict:
    from anitalker import fetch, registry, weights
    from anitalker.video import check_output

    action, names = arguments.action, arguments.names
    if action == "list" and not names:
        return {"models": registry.listing()}
    if action == "fetch" and names:
        progress = Progress()
        try:
            return {"fetched": [fetch.fetch(name, progress) for name in names]}
        except KeyboardInterrupt:
            print("what has arrived is kept; the same command continues", file=sys.stderr)
            raise
        finally:
            progress.close()
    if action == "convert" and len(names) == 2:
        return weights.convert(names[0], check_output(names[1], ".safetensors"))
    wanted = {"list": "nothing more", "fetch": "one name or more", "convert": "IN and OUT.safetensors"}[action]
    raise InputError(f"models {action} got {len(names)} arguments; it takes {wanted}; see `anitalker models --help`")


COMMANDS = {"render": _render, "reenact": _render, "faces": _faces, "encode": _encode, "models": _models}


def _say(command: str, result: dict) -> None:
    """The result for people."""
    if command == "faces":
        for index, face in enumerate(result["faces"]):
            box = ", ".join(f"{value:.0f}" for value in face["box"])
            turned = f"yaw {face['yaw']:.0f}, pitch {face['pitch']:.0f}, roll {face['roll']:.0f} degrees"
            print(f"{index}: box ({box}), {turned}, score {face['score']:.2f}")
        if not result["faces"]:
            print("no face found")
    elif command == "models":
        _say_models(result)
    elif command == "encode":
        print(f"{result['output']}: {result['frames']} frames")
    else:
        size = f"{result['width']}x{result['height']}"
        print(
            f"{result['output']}: {result['frames']} frames, {result['seconds']:.2f} s, {size}, seed {result['seed']}"
        )


def _say_models(result: dict) -> None:
    for model in result.get("models", ()):
        size = f"{model['bytes'] / 1e6:.1f} MB" if model["bytes"] else ""
        print(f"{model['name']:20} {size:>9}  {model['licence']:10}  {model['about']}")
        way = f": anitalker models fetch {model['name']}" if model["repository"] else ""
        print(f"{'':20} {model['file'] or 'not here' + way}")
    for one in result.get("fetched", ()):
        done = f"{one['bytes']} bytes, SHA-256 {one['sha256']}" if one["fetched"] else "was here, and is whole"
        print(f"{one['file']}: {done}")
    if "output" in result:
        before, after = (f"{result[key] / 1e6:.1f} MB" for key in ("bytes_before", "bytes_after"))
        what = result.get("variant") or result["kind"]
        print(f"{result['output']}: {what}, {result['tensors']} tensors; {before} -> {after}")


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 1 our fault, 2 wrong input or usage, 130 interrupted."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    before = signal.signal(signal.SIGTERM, _interrupt)  # being stopped leaves nothing half-written either
    try:
        arguments = build_parser().parse_args(argv)
        result = COMMANDS[arguments.command](arguments)
        if arguments.json:
            print(json.dumps(result))
        else:
            _say(arguments.command, result)
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: no output was written", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0
