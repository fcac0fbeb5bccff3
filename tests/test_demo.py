"""What `make demo` makes: codecs, rate, length, and sound where it was. Needs the shipped weights."""

import math
import subprocess

import numpy as np
import pytest

from anitalker.cli import main
from anitalker.config import RenderOptions
from anitalker.media.video import probe, read_audio, read_frames
from anitalker.pipeline import load


@pytest.mark.slow
def test_the_demo_video(root, tmp_path):
    """The Makefile's own command line, but for the place of the output."""
    line = subprocess.run(["make", "-n", "demo"], cwd=root, capture_output=True, text=True, check=True).stdout
    command = next(row for row in line.splitlines() if "-m anitalker render" in row).split("-m anitalker ")[1].split()
    output = tmp_path / "demo.mp4"
    speech = root / command[2]
    command[command.index("-o") + 1] = str(output)
    command[1:3] = [str(root / command[1]), str(speech)]
    assert main(command) == 0
    media = probe(output)
    assert (media.video_codec, media.pixel_format, media.audio_codec, media.fps) == ("h264", "yuv420p", "aac", 25)
    before, after = read_audio(speech), read_audio(output)
    frames = [frame.astype(np.int16) for frame in read_frames(output)]
    assert abs(len(frames) - math.ceil(25 * len(before) / 16_000)) <= 1
    assert abs(lag(before, after)) <= 0.040
    assert max(np.abs(frame - frames[0]).mean() for frame in frames) > 0.3, "nothing moves"


@pytest.mark.slow
def test_seeds_and_batches_of_the_shipped_model(example_portrait, clicks):
    """Same seed twice: identical motion. Batch size 1 against 16: frames equal within 1/255."""
    talker = load("lite", "cpu")
    portrait = talker.portrait(example_portrait)
    first, again, other = (talker.motion(portrait, clicks, RenderOptions(seed=seed))[0] for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()
    single, batched = (
        np.stack(list(talker.draw(portrait, [first], RenderOptions(batch_size=size)))) for size in (1, 16)
    )
    assert np.abs(single.astype(int) - batched).max() <= 1


def lag(before, after):
    """Seconds by which the second sound is late, from the peak of the cross-correlation."""
    size = 2 * max(len(before), len(after))
    product = np.fft.irfft(np.fft.rfft(after, size) * np.conj(np.fft.rfft(before, size)), size)
    peak = int(product.argmax())
    return (peak - size if peak > size // 2 else peak) / 16_000
