"""From file to file: the dub has the video's size, rate and sound; errors are one line and leave nothing behind."""

import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from anitalker.config import DubOptions, InputError, RenderOptions
from anitalker.media.clip import filmed_frames, open_clip
from anitalker.media.video import ffmpeg, probe, read_audio, read_frames

FAST = RenderOptions(size="original", marks=False, quality=10)


@pytest.fixture(scope="module")
def save(tmp_path_factory):
    """Writes frames as a lossless MP4, with a tone of 220 Hz or without sound; extra: more arguments of ffmpeg."""
    folder = tmp_path_factory.mktemp("videos")

    def write(name, frames, fps=25, sound=True, extra=()):
        height, width = frames.shape[1:3]
        pictures = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "pipe:0"]
        tone = ["-f", "lavfi", "-i", f"sine=220:duration={len(frames) / fps}"] if sound else []
        coding = ["-c:v", "libx264rgb", "-qp", "0", "-c:a", "aac", *extra]
        target = folder / name
        command = [ffmpeg(), "-v", "error", "-y", *pictures, *tone, *coding, str(target)]
        subprocess.run(command, input=frames.tobytes(), check=True)
        return target

    return write


@pytest.fixture(scope="module")
def video(save, film):
    return save("film.mp4", film([60 + t for t in range(12)]))


@pytest.mark.slow
def test_a_dub_has_the_video_s_size_and_rate_and_the_speech(talker, video, speech, tmp_path):
    facts = talker.dub(video, speech[1], tmp_path / "out.mp4", FAST)
    media = probe(tmp_path / "out.mp4")
    assert (media.width, media.height, media.fps) == (360, 220, 25)
    assert (facts["frames"], facts["fps"], facts["width"], facts["height"]) == (12, 25, 360, 220)
    heard, said = read_audio(tmp_path / "out.mp4")[:7000], speech[0][:7000]
    assert np.corrcoef(heard, said)[0, 1] > 0.95
    before, after = (np.stack(list(read_frames(path))).astype(int) for path in (video, tmp_path / "out.mp4"))
    upper, lower = (np.s_[:, rows, 60:260] for rows in (slice(0, 90), slice(120, 190)))
    assert np.abs(before[upper] - after[upper]).mean() < 2.5  # encoded once more
    assert np.abs(before[lower] - after[lower]).mean() > np.abs(before[upper] - after[upper]).mean()


@pytest.mark.slow
def test_pixels_above_the_mouth_and_outside_lines_are_the_decoder_s_own(talker, video, speech, tmp_path):
    table = tmp_path / "lines.csv"
    table.write_text(f"start,end,speech\n0.16,0.3,{speech[1]}\n", "utf-8")
    seen: list[np.ndarray] = []
    talker.dub(video, None, tmp_path / "out.mp4", FAST, DubOptions(segments=str(table)), on_frame=seen.append)
    film = list(read_frames(video))
    assert len(seen) == len(film) == 12
    changed = [n for n in range(12) if (seen[n] != film[n]).any()]
    assert set(changed) <= set(range(4, 12))
    assert {6, 7} <= set(changed)
    for n in changed:
        np.testing.assert_array_equal(seen[n][:90], film[n][:90])


@pytest.mark.slow
def test_luma_and_chroma_are_as_filmed_wherever_nothing_moved(talker, film, speech, tmp_path):
    """Without marks and loss, to the bit: the decoded planes of the dub are those of the video."""
    frames, source, target = film([60] * 6), tmp_path / "film.mp4", tmp_path / "out.mp4"
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "360x220", "-r", "25", "-i", "pipe:0"]
    tags = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"]
    convert = "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p"
    coding = ["-vf", convert, "-c:v", "libx264", "-crf", "25", *tags, source]
    subprocess.run([ffmpeg(), "-v", "error", *raw, *coding], input=frames.tobytes(), check=True)
    drawn: list[np.ndarray] = []
    talker.dub(source, speech[1], target, replace(FAST, quality=0), on_frame=drawn.append)
    before, after = (planes(path, len(frames)) for path in (source, target))
    shown = [frame.rgb for frame in filmed_frames(open_clip(source), np.arange(len(frames)))]
    blocks = (np.stack(drawn) != shown).any(-1).reshape(-1, 110, 2, 180, 2).any((2, 4))
    assert 0.02 < blocks.mean() < 0.5 and not blocks[:, :45].any()
    for kept, dubbed, changed in zip(
        before, after, (blocks.repeat(2, 1).repeat(2, 2), blocks[:, None].repeat(2, 1)), strict=True
    ):
        np.testing.assert_array_equal(dubbed[~changed], kept[~changed])
        assert (dubbed[changed] != kept[changed]).mean() > 0.3


def planes(path, count):
    """Luma [T,220,360] and chroma [T,2,110,180] of a video, as decoded."""
    raw = ["-i", path, "-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1"]
    data = subprocess.run([ffmpeg(), "-v", "error", *raw], capture_output=True, check=True).stdout
    frames = np.frombuffer(data, np.uint8).reshape(count, 330, 360)
    return frames[:, :220], frames[:, 220:].reshape(count, 2, 110, 180)


@pytest.mark.slow
def test_a_silent_performance_keeps_the_video_s_own_sound(talker, video, root, tmp_path):
    driver = tmp_path / "driver.mp4"
    subprocess.run(
        [ffmpeg(), "-v", "error", "-i", root / "app/examples/driving.mp4", "-t", "0.4", "-an", driver], check=True
    )
    seen: list[np.ndarray] = []
    facts = talker.dub(video, driver, tmp_path / "out.mp4", FAST, DubOptions(follow="expression"), on_frame=seen.append)
    assert facts["frames"] == 10
    heard = read_audio(tmp_path / "out.mp4")[1000:5000]
    assert np.abs(np.fft.rfft(heard)).argmax() == round(220 * len(heard) / 16_000)
    moved = np.abs(np.stack(seen).astype(int) - np.stack(list(read_frames(video)))[:10])
    assert moved[:, 40:90, 60:260].max() > 20  # eyes and brows


@pytest.mark.slow
def test_a_silent_performance_and_a_silent_video_make_a_silent_video(talker, save, film, root, tmp_path):
    silent = save("mute.mp4", film([60] * 4), sound=False)
    driver = tmp_path / "driver.mp4"
    subprocess.run(
        [ffmpeg(), "-v", "error", "-i", root / "app/examples/driving.mp4", "-t", "0.2", "-an", driver], check=True
    )
    assert talker.dub(silent, driver, tmp_path / "out.mp4", FAST, DubOptions(follow="all"))["frames"] == 4
    assert probe(tmp_path / "out.mp4").audio_codec is None


def test_a_recording_that_shows_nobody_cannot_be_followed(talker, video, speech, tmp_path):
    with pytest.raises(InputError, match="speech has no pictures"):
        talker.dub(video, speech[1], tmp_path / "out.mp4", FAST, DubOptions(follow="lips"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_segments_keep_the_sound_outside_of_them(talker, video, speech, tmp_path):
    table = tmp_path / "lines.csv"
    table.write_text(f"start,end,speech\n0.28,0.48,{speech[1]}\n", "utf-8")
    talker.dub(video, None, tmp_path / "out.mp4", FAST, DubOptions(segments=str(table)))
    before, after = read_audio(video), read_audio(tmp_path / "out.mp4")
    assert np.abs(np.fft.rfft(after[500:3500])).argmax() == np.abs(np.fft.rfft(before[500:3500])).argmax()


@pytest.mark.slow
@pytest.mark.parametrize(("fit", "frames"), [("trim", 12), ("loop", 15), ("hold", 15), ("speed", 15)])
def test_speech_that_is_longer_than_the_video(talker, video, speech, make_wav, tmp_path, fit, frames, caplog):
    recording = make_wav(tmp_path / "speech.wav", speech[0][:9600])
    facts = talker.dub(video, recording, tmp_path / "out.mp4", FAST, DubOptions(fit=fit))
    assert facts["frames"] == frames
    assert "the video has 0.5 s, the speech 0.6 s" in caplog.text


@pytest.mark.slow
def test_a_video_of_30_frames_a_second_without_sound(talker, save, film, speech, tmp_path):
    silent = save("silent.mp4", film([60] * 12), fps=30, sound=False)
    facts = talker.dub(silent, speech[1], tmp_path / "out.mp4", FAST)
    assert facts["fps"] == 30
    assert facts["frames"] == 12
    assert probe(tmp_path / "out.mp4").audio_codec == "aac"


@pytest.mark.slow
def test_part_of_a_video(talker, video, speech, tmp_path):
    seen: list[np.ndarray] = []
    options = DubOptions(start=0.2, stop=0.4)
    talker.dub(video, speech[1], tmp_path / "out.mp4", FAST, options, on_frame=seen.append)
    film = list(read_frames(video))
    assert len(seen) == 5
    np.testing.assert_array_equal(seen[0][:90], film[5][:90])


@pytest.mark.slow
def test_the_original_sound_underneath(talker, video, speech, tmp_path):
    talker.dub(video, speech[1], tmp_path / "out.mp4", FAST, DubOptions(original_sound=1.0))
    spectrum = np.abs(np.fft.rfft(read_audio(tmp_path / "out.mp4")[:7500] * np.hanning(7500)))
    assert spectrum[103] > 10 * np.median(spectrum[60:150])  # 220 Hz


@pytest.mark.slow
def test_marks_name_the_video_as_an_ingredient(talker, video, speech, tmp_path):
    from anitalker.provenance.verify import verify

    talker.dub(video, speech[1], tmp_path / "out.mp4", RenderOptions(size="original"))
    facts = verify(tmp_path / "out.mp4")
    assert facts["credentials"]["status"] == "intact"
    assert "film.mp4" in json.dumps(facts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speech": None}, "dub takes a recording or --segments"),
        ({"dubbing": {"start": 5.0}}, "from is 5 s, but the video has pictures up to 0.48 s"),
        ({"options": {"face": "3"}}, "face is 3, but the video shows people 0 to 0; choose one"),
        ({"dubbing": {"segments": "x.csv"}}, "dub takes a recording or --segments"),
        ({"speech": None, "dubbing": {"segments": "x.csv", "fit": "loop"}}, "fit loop came with segments"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(talker, video, speech, tmp_path, change, message):
    options = RenderOptions(size="original", **change.get("options", {}))
    dubbing = DubOptions(**change.get("dubbing", {}))
    with pytest.raises(InputError, match=message):
        talker.dub(video, change.get("speech", speech[1]), tmp_path / "out.mp4", options, dubbing)
    assert list(tmp_path.iterdir()) == []


def test_the_video_itself_is_never_replaced(talker, video, speech):
    with pytest.raises(InputError, match="output is one of the inputs"):
        talker.dub(video, speech[1], video)


def test_the_original_family_says_that_it_cannot(video, speech, tmp_path, people):
    from types import SimpleNamespace

    from anitalker.dubbing import job

    other = SimpleNamespace(dubbing=None, name="original")
    with pytest.raises(InputError, match="model original cannot dub: its codes move whole faces; take --model lite"):
        job.dub(other, people(), video, speech[1], tmp_path / "out.mp4", RenderOptions())
