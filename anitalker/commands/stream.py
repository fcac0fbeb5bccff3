"""anitalker stream: a portrait speaks while the speech arrives."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from anitalker.commands import options as flags
from anitalker.config import InputError

HELP = "a portrait speaks while the speech arrives"
BACKLOG = 25  # pieces of 20 ms that may wait; then reading stops, and the sender has to wait
SLACK = 0.4  # seconds; with --idle, frames later than this are not drawn, the last one is shown again


def add(parser: flags.Parser) -> None:
    """The arguments."""
    parser.add_argument("portrait", help="picture with a face")
    parser.add_argument(
        "--input", required=True, metavar="-|FILE", help="-: raw 16 bit mono PCM at 16 kHz on stdin; or any audio file"
    )
    parser.add_argument("-o", "--output", default="-", metavar="-|FILE", help="default: stdout")
    parser.add_argument(
        "--format",
        choices=("mp4", "raw"),
        default="mp4",
        help="fragmented MP4 with sound, or RGB frames (default: mp4)",
    )
    parser.add_argument(
        "--idle", action="store_true", help="25 frames per second by the clock: without speech the portrait waits"
    )
    parser.add_argument(
        "--lookahead", type=int, metavar="FRAMES", help="speech known behind a frame, 40 ms each, 1 to 12"
    )
    parser.add_argument("--level", type=float, metavar="DB", help="of the speech, dB of full scale (default: measured)")
    flags.motion_flags(parser)
    flags.picture_flags(parser)
    flags.shared_flags(parser)


def run(arguments: argparse.Namespace) -> dict:
    """Read, speak and write until the speech ends -> facts for --json."""
    if arguments.json and arguments.output == "-":
        raise InputError("--json came with the stream on stdout; write the stream to a file with -o")
    options = flags.options_of(arguments)
    look = arguments.lookahead
    if look is not None and not 1 <= look <= 12:
        raise InputError(f"lookahead is {look}; allowed is 1 to 12 frames")
    from anitalker.pipeline import load
    from anitalker.provenance.marks import frame_filters
    from anitalker.streaming.fragmented_mp4 import FragmentWriter, FrameWriter
    from anitalker.streaming.pacing import deadline, drain, pace_realtime, read_pcm_stream
    from anitalker.streaming.talker import LOOKAHEAD, StreamingTalker, with_sound

    talker = load(**flags.model_of(arguments))
    portrait = talker.portrait(arguments.portrait, options.face, options.face_backend, enhance=options.enhance)
    height, width = portrait.picture.shape[:2] if options.frame == "full" else (talker.model.size,) * 2
    # No credentials: a stream has no end that could be signed.
    filters = frame_filters(width, height, options.label, options.marks)
    late = deadline(SLACK) if arguments.idle else (lambda frame: False)
    stream = StreamingTalker(talker, portrait, options, look or LOOKAHEAD, arguments.level, late)
    stream.warm()
    with contextlib.ExitStack() as stack:
        output = sys.stdout.buffer if arguments.output == "-" else stack.enter_context(_open(arguments.output))
        arrived = read_pcm_stream(_source(arguments.input, stack), BACKLOG)
        pieces = pace_realtime(arrived) if arguments.idle else drain(arrived)
        writer = FragmentWriter(output, width, height) if arguments.format == "mp4" else FrameWriter(output)
        with writer:
            for frame, sound in with_sound(stream, pieces):
                for apply in filters:
                    frame = apply(frame)
                writer.write(frame, sound)
    return {"output": arguments.output, "frames": stream.made, "skipped": stream.skipped, "model": talker.name}


def _open(path: str):
    try:
        return open(path, "wb")
    except OSError as error:
        raise InputError(f"output cannot be written: {path!r} ({error.strerror}); choose another") from None


def _source(name: str, stack: contextlib.ExitStack):
    """A binary file of PCM: stdin, a file of it (.pcm, .raw, a pipe), or any audio file, decoded."""
    from anitalker.media.video import read_audio
    from anitalker.streaming.fragmented_mp4 import pcm

    if name == "-":
        return sys.stdin.buffer
    path = Path(name)
    if path.is_fifo() or (path.is_file() and path.suffix.lower() in (".pcm", ".raw")):
        return stack.enter_context(path.open("rb"))
    import io

    return io.BytesIO(pcm(read_audio(path)))


def say(made: dict) -> None:
    """One line, on stderr: stdout may be the stream."""
    again = f", {made['skipped']} shown again" if made["skipped"] else ""
    print(f"{made['output']}: {made['frames']} frames{again}", file=sys.stderr)
