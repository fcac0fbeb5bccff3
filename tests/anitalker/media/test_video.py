"""Writing and reading video: codecs, alignment, atomic output, and what cannot be read."""

import subprocess

import numpy as np
import pytest

from anitalker.config import InputError
from anitalker.files import check_output
from anitalker.media.video import ffmpeg, probe, read_audio, read_frames
from anitalker.media.writer import VideoWriter


def painted(number, height=64, width=96):
    """A grey frame that tells its number by its level."""
    return np.full((height, width, 3), 40 + 4 * number, np.uint8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory, clicks):
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    with VideoWriter(path, 96, 64, clicks) as writer:
        for number in range(26):
            writer.write(painted(number))
    return path


def test_codecs_rate_and_tag(clip):
    media = probe(clip)
    assert (media.video_codec, media.pixel_format, media.audio_codec) == ("h264", "yuv420p", "aac")
    assert (media.width, media.height, media.fps) == (96, 64, 25)
    assert (media.matrix, media.primaries, media.transfer, media.full_range) == ("bt709", "bt709", "bt709", False)
    assert "Synthetic media" in media.comment and "AniTalker" in media.comment


def test_faststart(clip):
    data = clip.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_frames_come_back_in_order(clip):
    levels = [frame.mean() for frame in read_frames(clip)]
    assert len(levels) == 26
    np.testing.assert_allclose(levels, [40 + 4 * n for n in range(26)], atol=3)


def test_sound_stays_where_it_was(clip, clicks):
    """Audio offset by cross-correlation: below a millisecond (the bar is 40)."""
    before, after = read_audio(clicks), read_audio(clip)
    assert len(before) == int(1.03 * 16_000)
    size = 2 * max(len(before), len(after))
    product = np.fft.irfft(np.fft.rfft(after, size) * np.conj(np.fft.rfft(before, size)), size)
    lag = int(product.argmax())
    lag = lag - size if lag > size // 2 else lag
    assert abs(lag) <= 16, f"{lag / 16:.2f} ms"


def test_late_audio_track_is_padded(tmp_path, clicks):
    """A recording whose track starts 0.4 s late sounds 0.4 s later in what we hear, as in what a player plays."""
    late = tmp_path / "late.mp4"
    black = ["-f", "lavfi", "-i", "color=black:s=64x64:d=2:r=25"]
    command = [
        ffmpeg(),
        "-v",
        "error",
        *black,
        "-itsoffset",
        "0.4",
        "-i",
        str(clicks),
        "-map",
        "0:v",
        "-map",
        "1:a",
        str(late),
    ]
    subprocess.run(command, check=True)
    first = np.flatnonzero(np.abs(read_audio(late)) > 0.2)[0] / 16_000
    assert abs(first - 0.6) < 0.01


def test_colours_survive(tmp_path):
    colours = np.array([[200, 40, 40], [40, 180, 60], [30, 60, 200], [220, 180, 150]], np.uint8)
    frame = np.repeat(np.repeat(colours[None], 64, 0), 32, 1)
    with VideoWriter(tmp_path / "colour.mp4", 128, 64) as writer:
        for _ in range(3):
            writer.write(frame)
    back = next(read_frames(tmp_path / "colour.mp4"))
    np.testing.assert_allclose(back[32, 16::32].astype(int), colours.astype(int), atol=6)


def test_odd_sizes_are_padded_by_the_edge(tmp_path):
    with VideoWriter(tmp_path / "odd.mp4", 95, 63) as writer:
        writer.write(painted(3, 63, 95))
    frame = next(read_frames(tmp_path / "odd.mp4"))
    assert frame.shape == (64, 96, 3)
    np.testing.assert_allclose(frame, 52, atol=3)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_nothing_is_left_after_an_interruption(tmp_path, stop):
    with pytest.raises(stop), VideoWriter(tmp_path / "out.mp4", 96, 64) as writer:
        writer.write(painted(0))
        raise stop
    assert list(tmp_path.iterdir()) == []


def test_an_older_output_stays_until_the_new_one_is_whole(tmp_path):
    out = tmp_path / "out.mp4"
    out.write_bytes(b"older")
    with pytest.raises(ValueError), VideoWriter(out, 96, 64) as writer:
        writer.write(painted(0))
        raise ValueError
    assert out.read_bytes() == b"older"


def test_ffmpeg_failing_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    """An encoder that does not exist: ffmpeg ends with an error, the output does not appear."""
    monkeypatch.setattr("anitalker.media.encoder.encoder_arguments", lambda *_: ("-c:v", "none_such"))
    with pytest.raises(RuntimeError, match="ffmpeg"), VideoWriter(tmp_path / "out.mp4", 96, 64) as writer:
        for number in range(50):
            writer.write(painted(number % 20))
    assert list(tmp_path.iterdir()) == []


def test_sound_that_is_not_there_is_told_at_once(tmp_path):
    with VideoWriter(tmp_path / "mute.mp4", 96, 64) as writer:
        writer.write(painted(0))
    for name, words in (("gone.wav", "missing"), ("mute.mp4", "no sound")):
        with pytest.raises(InputError, match=words):
            VideoWriter(tmp_path / "out.mp4", 96, 64, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["mute.mp4"]


def test_names_that_look_like_options_or_addresses(tmp_path, clicks, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("-i.wav", "http:x.wav", "a b'c%03d.wav"):
        (tmp_path / name).write_bytes(clicks.read_bytes())
        assert len(read_audio(name)) == int(1.03 * 16_000)


def test_frames_of_another_rate(tmp_path):
    source = tmp_path / "slow.mp4"
    subprocess.run([ffmpeg(), "-v", "error", "-f", "lavfi", "-i", "testsrc=s=64x64:d=2:r=10", str(source)], check=True)
    assert len(list(read_frames(source))) == 50
    with pytest.raises(InputError, match="no sound"):
        read_audio(source)


def test_reading_can_stop_early(clip):
    frames = read_frames(clip)
    assert next(frames).shape == (64, 96, 3)
    frames.close()


@pytest.mark.parametrize("name", ["out.avi", "missing/out.mp4", ""])
def test_output_names(tmp_path, name):
    with pytest.raises(InputError, match="output"):
        check_output(tmp_path / name)


def test_output_where_nothing_can_be_written(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.touch", refuse)
    with pytest.raises(InputError, match="cannot be written"):
        check_output(tmp_path / "out.mp4")


@pytest.mark.parametrize("content", [b"", b"hello, this is text", b"\x00" * 5000])
def test_not_a_recording(tmp_path, content):
    (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(InputError) as error:
        read_audio(tmp_path / "x.wav")
    assert "\n" not in str(error.value)


def test_two_loud_channels_are_averaged(tmp_path):
    """Left to itself ffmpeg adds them up to 1.3 times full scale."""
    import wave

    samples = (0.95 * np.sin(np.arange(16000) * 0.1) * 32767).astype("<i2")
    with wave.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(np.repeat(samples, 2).tobytes())
    assert np.abs(read_audio(tmp_path / "x.wav")).max() == pytest.approx(0.95, abs=0.005)


def test_the_decoder_may_work_longer_on_a_longer_video(clip, monkeypatch):
    """After 15 minutes of processor time a video of hours ended early, without a word."""
    from dataclasses import replace

    from anitalker.media import video

    commands = []
    start = video._start_reading
    monkeypatch.setattr(video, "_start_reading", lambda *all: commands.append(all[0]) or start(*all))
    probed = video.probe(clip)
    monkeypatch.setattr(video, "probe", lambda path, what: replace(probed, seconds=3600.0))
    assert len(list(read_frames(clip))) == 26
    assert commands[0][commands[0].index("-timelimit") + 1] == "72900"
