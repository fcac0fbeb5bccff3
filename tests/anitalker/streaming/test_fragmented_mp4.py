"""A stream can be read while it is written, keeps every frame, and its sound lies beneath them."""

import io
import os
import time

import numpy as np
import pytest

from anitalker import cli
from anitalker.media.video import probe, read_audio, read_frames
from anitalker.provenance.marks import frame_filters, metadata_tags
from anitalker.provenance.verify import verify
from anitalker.streaming.fragmented_mp4 import FragmentWriter, FrameWriter, pcm

posix = pytest.mark.skipif(os.name != "posix", reason="sound goes through a third pipe")


def grey(value, height=32, width=48):
    return np.full((height, width, 3), value, np.uint8)


@posix
def test_fragments_leave_while_frames_still_come(tmp_path):
    path = tmp_path / "live.mp4"
    beep = np.sin(np.arange(640) * 0.5).astype(np.float32)
    with path.open("wb") as file, FragmentWriter(file, 48, 32) as writer:
        for number in range(20):
            writer.write(grey(10 * number), beep * (number == 10))
        until = time.monotonic() + 20
        while path.read_bytes().count(b"moof") < 10 and time.monotonic() < until:
            time.sleep(0.01)
        assert path.read_bytes().count(b"moof") >= 10
        for number in range(20, 25):
            writer.write(grey(10 * number), beep * 0)
    frames = list(read_frames(path))
    assert len(frames) == 25
    assert [round(float(frame.mean()) / 10) for frame in frames] == list(range(25))
    sound = np.abs(read_audio(path))
    assert int(sound.argmax()) // 640 == 10  # where the beep belongs
    assert "Synthetic media" in probe(path).comment


@posix
def test_a_stream_carries_the_marks(tmp_path):
    """Identifier in the pixels and in the metadata, and no credentials."""
    identifier, size = "0123456789abcdef", (128, 160)
    frame = np.random.default_rng(0).integers(100, 130, (8, 10, 3)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
    (mark,) = frame_filters(*size[::-1], False, True, identifier)
    path = tmp_path / "live.mp4"
    with path.open("wb") as file, FragmentWriter(file, *size[::-1], tags=metadata_tags(identifier)) as writer:
        for _ in range(10):
            writer.write(mark(frame), np.zeros(640, np.float32))
    verdict = verify(path)
    assert verdict["identifiers"] == {"pixels": identifier, "sound": None, "credentials": None, "metadata": identifier}
    assert verdict["watermark"]["found"] and "Synthetic media" in verdict["comment"]


@posix
def test_odd_sizes_are_padded(tmp_path):
    with (tmp_path / "odd.mp4").open("wb") as file, FragmentWriter(file, 31, 33) as writer:
        writer.write(grey(9, 33, 31), np.zeros(640, np.float32))
    found = probe(tmp_path / "odd.mp4")
    assert (found.width, found.height) == (32, 34)


def test_bare_frames():
    output = io.BytesIO()
    with FrameWriter(output) as writer:
        writer.write(grey(3), np.zeros(640, np.float32))
        writer.write(grey(4), np.zeros(640, np.float32))
    assert output.getvalue() == grey(3).tobytes() + grey(4).tobytes()


@pytest.mark.slow
@posix
@pytest.mark.parametrize("form", ["mp4", "raw"])
def test_command(form, untrained_model, talker, example_portrait, tmp_path, capsys):
    """0.3 s of bare samples -> 8 frames. `talker` only brings a face that is always found."""
    speech, output = tmp_path / "speech.pcm", tmp_path / "out"
    speech.write_bytes(pcm(0.1 * np.sin(np.arange(4800) * 0.1)) + b"\0")  # half a sample at the end
    command = ["stream", str(example_portrait), "--input", str(speech), "-o", str(output), "--format", form]
    assert cli.main([*command, "--model", str(untrained_model), "--frame", "crop", "--json", "--device", "cpu"]) == 0
    assert '"frames": 8' in capsys.readouterr().out
    if form == "raw":
        assert output.stat().st_size == 8 * 256 * 256 * 3
    else:
        assert len(list(read_frames(output))) == 8


@pytest.mark.parametrize(
    ("flags", "word"),
    [(["--json"], "stdout"), (["--lookahead", "0"], "1 to 12"), (["-o", "/no/such/folder/x"], "output")],
)
def test_wrong_usage(flags, word, example_portrait, talker, untrained_model, capsys):
    command = ["stream", str(example_portrait), "--input", "-", "--model", str(untrained_model), *flags]
    assert cli.main(command) == 2
    assert word in capsys.readouterr().err
