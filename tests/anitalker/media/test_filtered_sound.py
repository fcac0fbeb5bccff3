"""Sound through a filter: as long as before, in its channels, and clear errors."""

import subprocess

import numpy as np
import pytest

from anitalker.config import InputError
from anitalker.media.filtered_sound import RATE, filter_sound
from anitalker.media.video import ffmpeg, probe, read_audio


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
def test_the_sound_is_that_of_the_file(layout, tmp_path):
    file, output = tmp_path / "in.flac", tmp_path / "out.flac"
    tone = ["-f", "lavfi", "-i", f"sine=440:r=44100:d=7,aformat=channel_layouts={layout}"]
    subprocess.run([ffmpeg(), "-v", "error", *tone, str(file)], check=True)
    filter_sound(file, output, lambda pieces: (0.5 * piece for piece in pieces))
    media = probe(output)
    assert media.audio_rate == RATE and media.audio_layout == ("mono" if layout == "mono" else "stereo")
    before, after = read_audio(file, RATE), read_audio(output, RATE)
    assert abs(len(before) - len(after)) <= 1
    assert np.std(after[1000:-1000]) == pytest.approx(
        0.5 * np.std(before[1000:-1000]), rel=0.3 if layout == "5.1" else 0.01
    )


def test_what_is_no_sound(tmp_path):
    file = tmp_path / "text.wav"
    file.write_text("no sound at all")
    with pytest.raises(InputError, match="speech is not audio or video"):
        filter_sound(file, tmp_path / "out.flac", iter)
    assert not (tmp_path / "out.flac").exists()


def test_an_error_of_the_filter_ends_both_processes(clicks, tmp_path):
    def broken(pieces):
        next(pieces)
        raise ValueError("broken")
        yield

    with pytest.raises(ValueError, match="broken"):
        filter_sound(clicks, tmp_path / "out.flac", broken)
