"""anitalker stream: a portrait speaks while the speech arrives."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from pathlib import Path
from typing import BinaryIO, TypedDict

from anitalker.commands import options
from anitalker.config import FPS, InputError

HELP = "a portrait speaks while the speech arrives"
MAX_WAITING_PIECES = 25  # of 20 ms each; then reading stops, and the sender has to wait
MAX_DELAY_SECONDS = 0.4  # with --idle, frames later than this are not drawn: the last one is shown again
MIN_LOOKAHEAD, MAX_LOOKAHEAD = 1, 12  # frames


class StreamFacts(TypedDict):
    """What `--json` prints: the output, frames that were written, how many of them repeat the last one, the model.

    identifier: of this stream, as its marks carry it.
    """

    output: str
    frames: int
    skipped: int
    model: str
    identifier: str


def add_arguments(parser: options.Parser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("portrait", help="picture with a face")
    parser.add_argument(
        "--input", required=True, metavar="-|FILE", help="-: raw 16 bit mono PCM at 16 kHz on stdin; or any audio file"
    )
    parser.add_argument(
        "--synthetic-voice",
        action="store_true",
        help="a machine speaks: mark the sound inaudibly; audio files that say so themselves are marked anyway",
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
    options.add_motion_options(parser)
    options.add_picture_options(parser)
    options.add_common_options(parser)


def run(arguments: argparse.Namespace) -> StreamFacts:
    """Read, speak and write until the speech ends; returns the facts for --json."""
    if arguments.json and arguments.output == "-":
        raise InputError("--json came with the stream on stdout; write the stream to a file with -o")
    render_options = options.to_render_options(arguments)
    lookahead = arguments.lookahead
    if lookahead is not None and not MIN_LOOKAHEAD <= lookahead <= MAX_LOOKAHEAD:
        raise InputError(f"lookahead is {lookahead}; allowed is {MIN_LOOKAHEAD} to {MAX_LOOKAHEAD} frames")
    from anitalker.files import check_folder_exists
    from anitalker.pipeline import load
    from anitalker.provenance.audio_mark import mark_speech
    from anitalker.provenance.marks import frame_filters, metadata_tags
    from anitalker.provenance.payload import new_identifier
    from anitalker.streaming.fragmented_mp4 import FragmentWriter, FrameWriter
    from anitalker.streaming.pacing import deadline, drain, pace_realtime, read_pcm_stream
    from anitalker.streaming.talker import LOOKAHEAD_FRAMES, StreamingTalker, frames_with_audio

    if arguments.output != "-":
        check_folder_exists(Path(arguments.output))  # before anything slow
    talker = load(**options.to_load_arguments(arguments))
    portrait = talker.prepare(arguments.portrait, render_options)
    height, width = portrait.picture.shape[:2] if render_options.frame == "full" else (talker.model.size,) * 2
    identifier = new_identifier()
    # No credentials: a stream has no end that could be signed.
    filters = frame_filters(
        width,
        height,
        render_options.label,
        render_options.marks,
        identifier,
        render_options.label_language,
        render_options.label_style,
        math.inf if render_options.label_seconds is None else render_options.label_seconds * FPS,
    )
    is_late = deadline(MAX_DELAY_SECONDS) if arguments.idle else (lambda frame: False)
    stream = StreamingTalker(talker, portrait, render_options, lookahead or LOOKAHEAD_FRAMES, arguments.level, is_late)
    stream.warm()
    with contextlib.ExitStack() as stack:
        output = sys.stdout.buffer if arguments.output == "-" else stack.enter_context(_open_output(arguments.output))
        incoming = read_pcm_stream(_open_input(arguments.input, stack), MAX_WAITING_PIECES)
        pieces = pace_realtime(incoming) if arguments.idle else drain(incoming)
        if render_options.marks and (arguments.synthetic_voice or _says_synthetic(arguments.input)):
            pieces = mark_speech(pieces, identifier)
        writer: FragmentWriter | FrameWriter = FrameWriter(output)
        if arguments.format == "mp4":
            writer = FragmentWriter(output, width, height, tags=metadata_tags(identifier, render_options.marks))
        with writer:
            for frame, sound in frames_with_audio(stream, pieces):
                for apply_filter in filters:
                    frame = apply_filter(frame)
                writer.write(frame, sound)
    return {
        "output": arguments.output,
        "frames": stream.frame_count,
        "skipped": stream.skipped,
        "model": talker.name,
        "identifier": identifier,
    }


def _open_output(path: str) -> BinaryIO:
    try:
        return open(path, "wb")
    except OSError as error:
        raise InputError(f"output cannot be written: {path!r} ({error.strerror}); choose another") from None


def _says_synthetic(name: str) -> bool:
    """Whether the input is an audio file that says of itself that its voice is synthetic; PCM says nothing."""
    from anitalker.provenance.synthetic_sound import has_synthetic_voice

    return not _is_pcm(name) and has_synthetic_voice([name])


def _is_pcm(name: str) -> bool:
    path = Path(name)
    return name == "-" or path.is_fifo() or (path.is_file() and path.suffix.lower() in (".pcm", ".raw"))


def _open_input(name: str, stack: contextlib.ExitStack) -> BinaryIO:
    """A binary file of PCM: stdin, a file of PCM (.pcm, .raw, a pipe), or any audio file, decoded."""
    from anitalker.media.video import read_audio
    from anitalker.streaming.fragmented_mp4 import pcm

    if name == "-":
        return sys.stdin.buffer
    path = Path(name)
    if _is_pcm(name):
        return stack.enter_context(path.open("rb"))
    import io

    return io.BytesIO(pcm(read_audio(path)))


def print_summary(facts: StreamFacts) -> None:
    """Print one line on stderr: stdout may be the stream."""
    repeated = f", {facts['skipped']} shown again" if facts["skipped"] else ""
    print(f"{facts['output']}: {facts['frames']} frames{repeated}", file=sys.stderr)
