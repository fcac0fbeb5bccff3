"""Videos as people have them: phones, cameras and screens; from the command line, whole and in one go."""

import json
import subprocess

import numpy as np
import pytest

from anitalker.cli import main
from anitalker.media.clip import open_clip
from anitalker.media.video import ffmpeg, probe, read_frames

pytestmark = pytest.mark.slow
LOSSLESS = ("-c:v", "libx264rgb", "-qp", "0")


@pytest.fixture(scope="module")
def encode(tmp_path_factory):
    """Writes frames at a rate as a video, with these arguments of ffmpeg and more filters."""
    folder = tmp_path_factory.mktemp("real")

    def write(name, frames, fps, *arguments, filters="null"):
        height, width = frames.shape[1:3]
        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "pipe:0"]
        command = [ffmpeg(), "-v", "error", "-y", *raw, "-vf", filters, *arguments, str(folder / name)]
        subprocess.run(command, input=frames.tobytes(), check=True)
        return folder / name

    return write


@pytest.fixture
def dub(speech, tmp_path, capsys):
    """Runs `anitalker dub` -> facts, and the frames of its output."""

    def run(video, *arguments):
        target = tmp_path / "out.mp4"
        status = main(["dub", str(video), str(speech[1]), "-o", str(target), "--no-marks", "--json", *arguments])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return json.loads(captured.out), np.stack(list(read_frames(target)))

    return run


def test_a_phone_video_that_is_stored_on_its_side(encode, film, dub):
    sideways = encode("side.mp4", np.rot90(film([60] * 8), 1, (1, 2)).copy(), 25, *LOSSLESS)
    turned = sideways.with_name("turned.mp4")
    rotate = [ffmpeg(), "-v", "error", "-y", "-display_rotation", "-90", "-i", str(sideways), "-c", "copy", str(turned)]
    subprocess.run(rotate, check=True)
    facts, _ = dub(turned)
    assert (facts["width"], facts["height"]) == (360, 220)


def test_60_frames_a_second(encode, film, dub):
    facts, _ = dub(encode("sixty.mp4", film([60] * 20), 60, *LOSSLESS))
    assert (facts["fps"], facts["frames"]) == (60, 20)


def test_the_rate_of_television(encode, film, dub, tmp_path):
    facts, _ = dub(encode("ntsc.mp4", film([60] * 8), "30000/1001", *LOSSLESS))
    assert facts["fps"] == pytest.approx(29.97, abs=0.001)
    assert probe(tmp_path / "out.mp4").fps == pytest.approx(29.97, abs=0.005)


def test_a_variable_frame_rate_keeps_time(encode, film, dub):
    video = encode(
        "vfr.mp4", film([60] * 12), 30, *LOSSLESS, "-fps_mode", "vfr", filters="select='not(eq(mod(n,5),3))'"
    )
    facts, _ = dub(video)
    assert facts["seconds"] == pytest.approx(0.4, abs=0.05)


def test_ten_bits_in_hevc(encode, film, dub):
    facts, out = dub(
        encode("hevc.mp4", film([60] * 6), 25, "-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-tag:v", "hvc1")
    )
    assert facts["frames"] == 6
    assert np.abs(out[0].astype(int) - film([60])[0]).mean() < 6  # no colours lost


def test_4k_is_reduced_on_request(encode, film, dub):
    video = encode("large.mp4", film([60] * 4), 25, *LOSSLESS, filters="scale=3840:2346")
    facts, _ = dub(video, "--size", "240")
    assert min(facts["width"], facts["height"]) == 240


def test_hevc_on_request(encode, film, dub, tmp_path):
    dub(encode("plain.mp4", film([60] * 4), 25, *LOSSLESS), "--codec", "hevc", "--quality", "20")
    assert probe(tmp_path / "out.mp4").video_codec == "hevc"


def test_a_cut_to_another_place_and_a_face_that_leaves(encode, film, dub):
    first, second = film([20] * 6), film([140] * 4 + [None] * 4 + [140] * 4)
    video = encode("cut.mp4", np.concatenate([first, (second * 0.6).astype(np.uint8)]), 25, *LOSSLESS)
    facts, out = dub(video, "--quality", "0")
    before = np.stack(list(read_frames(video)))
    assert facts["frames"] == 18
    assert np.abs(out[11].astype(int) - before[11]).mean() < 2  # nobody there: as filmed


def test_a_hand_over_the_mouth_is_left_alone(encode, film, dub, talker, caplog):
    import cv2

    frames = film([80] * 20)
    face = talker.finder().find(frames[0])[0].landmarks
    mouth, height = face[[13, 14], :2].mean(0), float(np.linalg.norm(face[10] - face[152]))
    for frame in frames:
        for finger in range(4):  # from the side, over lips and chin
            low = mouth + height * np.array([0.55, -0.1 + 0.09 * finger])
            high = mouth + height * np.array([-0.2, -0.07 + 0.08 * finger])
            cv2.line(
                frame, tuple(map(int, low)), tuple(map(int, high)), (205 - 9 * finger, 160, 135), int(0.1 * height)
            )
    _, out = dub(encode("hand.mp4", frames, 25, *LOSSLESS), "--quality", "0")
    assert "keep the filmed lips" in caplog.text
    assert np.abs(out.astype(int) - frames[: len(out)]).max() < 40
    assert np.abs(out.astype(int) - frames[: len(out)]).mean() < 1.5


def test_a_file_without_pictures_is_one_line(speech, tmp_path, capsys):
    assert main(["dub", str(speech[1]), str(speech[1]), "-o", str(tmp_path / "out.mp4")]) == 2
    assert capsys.readouterr().err.startswith("error: video has no pictures")
    assert list(tmp_path.iterdir()) == []


def test_open_clip_knows_what_a_dub_will_show(encode, film):
    clip = open_clip(encode("known.mp4", film([60] * 5), 25, *LOSSLESS))
    assert (clip.frames, clip.width, clip.height) == (5, 360, 220)
