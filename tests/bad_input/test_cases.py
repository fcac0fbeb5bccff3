"""Inputs that went wrong in version 0.1, each with its right value, over the shipped weights.

The files are not part of the checkout: they are read from the folder ANITALKER_CASES, or from shared/cases beside it.
"""

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from anitalker import driving, pipeline
from anitalker.cli import main
from anitalker.faces.landmarks import face_height, lip_opening
from anitalker.media.portrait_file import find_portrait
from anitalker.media.video import ffmpeg, probe, read_frames
from tests.conftest import ROOT

FOLDER = Path(os.environ.get("ANITALKER_CASES") or ROOT.parent / "shared/cases")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="shared/cases is not beside the checkout"),
]
AWAY = slice(18, 32)  # frames without a face in face-away.mp4, 0.7 to 1.3 s


@pytest.fixture(scope="module")
def talker():
    return pipeline.load("lite", "cpu")


@pytest.fixture(scope="module")
def portrait(talker):
    return talker.portrait(FOLDER / "fk00085.webp")


@pytest.fixture
def command(talker, monkeypatch, capsys):
    """Runs a command over the loaded model; returns its facts."""
    monkeypatch.setattr(pipeline, "load", lambda *_, **__: talker)

    def run(*arguments):
        assert main([*map(str, arguments), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def driven(talker, portrait, name):
    """The driver's motion, and the portrait's [T,M] as it follows."""
    drive = driving.read_motion(talker.model, talker.finder(), FOLDER / name)
    return drive, driving.motions_of(talker.model, drive, portrait.faces)[0]


def deviation(talker, motion):
    """How unusual each frame of motion [T,M] is, in the prior's spreads."""
    prior = talker.model.prior
    with torch.no_grad():
        return ((prior.middle[0] - prior.log_prob(motion)) / prior.spread[0]).numpy()


def openings(talker, frames):
    """Lip openings [T] of a face in frames, as shares of the face height."""
    finder = talker.finder()
    faces = [finder.find(frame)[0].landmarks for frame in frames]
    return np.array([lip_opening(points) / face_height(points) for points in faces])


def test_ten_bits_move_a_portrait_as_eight_do(talker, portrait, tmp_path):
    copy = tmp_path / "eight.mp4"
    convert = ["-i", str(FOLDER / "ten-bit.mp4"), "-pix_fmt", "yuv420p", "-c:v", "libx264", "-crf", "10", str(copy)]
    subprocess.run([ffmpeg(), "-v", "error", *convert], check=True)
    _, motion = driven(talker, portrait, "ten-bit.mp4")
    _, expected = driven(talker, portrait, copy)
    assert (motion - expected).abs().mean() < 0.1 * expected.std(0).mean()


def test_ten_bits_show_a_face_and_no_marks(command):
    assert len(command("faces", FOLDER / "ten-bit.mp4")["faces"]) == 1
    assert main(["verify", str(FOLDER / "ten-bit.mp4")]) in (0, 1)


@pytest.mark.parametrize("name", ["hlg-10bit.mov", "hlg.avif"])
def test_hdr_has_the_colours_of_the_original(talker, name):
    picture, found = find_portrait(FOLDER / name, talker.finder())
    original, _ = find_portrait(FOLDER / "fk00053.webp", talker.finder())
    assert len(found) == 1
    np.testing.assert_allclose(picture.mean((0, 1)), original.mean((0, 1)), atol=2)


def test_a_panned_camera_does_not_move_the_head(talker, portrait):
    drive, motion = driven(talker, portrait, "camera-pans.mp4")
    assert drive.seen.all() and deviation(talker, motion).max() < driving.MAX_DEVIATION
    own = portrait.faces[0].motion
    assert (motion - own)[:, 3:5].abs().max() < 0.25, "the head leaves its neck"


def test_a_face_that_is_away_is_waited_for(talker, portrait, caplog):
    drive, motion = driven(talker, portrait, "face-away.mp4")
    assert not drive.seen[AWAY].any() and drive.seen[: AWAY.start - 2].all() and drive.seen[AWAY.stop + 2 :].all()
    assert "of 50 frames of the driving video without a trustworthy face: held" in caplog.text
    assert deviation(talker, motion).max() < driving.MAX_DEVIATION


@pytest.mark.parametrize("name", ["fk00085.webp", "fk00053.webp"])
def test_lips_follow_a_driver_who_starts_with_an_open_mouth(talker, tmp_path, name):
    output = tmp_path / "driven.mp4"
    talker.reenact(FOLDER / name, FOLDER / "starts-mouth-open.mp4", output)
    lips = openings(talker, read_frames(output))
    wanted = openings(talker, read_frames(FOLDER / "starts-mouth-open.mp4"))[: len(lips)]
    assert np.corrcoef(lips, wanted)[0, 1] > 0.9
    assert np.abs(lips - wanted).mean() < 0.03


def test_a_driver_that_starts_black_is_searched(talker, portrait):
    drive, _ = driven(talker, portrait, "starts-black.mp4")
    assert drive.seen[-5:].all() and not drive.seen[:10].any()


def test_non_square_pixels_are_widened(command, tmp_path):
    output = tmp_path / "wide.mp4"
    facts = command("render", FOLDER / "non-square-pixels.mp4", FOLDER / "speech-2s.flac", "-o", output)
    assert (facts["width"], facts["height"]) == (256, 256)
    assert (probe(output).width, probe(output).height) == (256, 256)


def test_a_large_selfie_is_bounded_and_told(talker, command, tmp_path):
    output = tmp_path / "selfie.mp4"
    facts = command("render", FOLDER / "selfie-9mp.jpg", FOLDER / "speech-2s.flac", "-o", output)
    assert min(facts["width"], facts["height"]) == 1080 and facts["frames"] == 50
    assert facts["real_time_factor"] < 40, "169 s for two seconds in version 0.1"


def test_of_a_close_up_only_what_is_seen_is_drawn(talker):
    from anitalker.estimate import drawn_pixels

    portrait = talker.portrait(FOLDER / "close-up.jpg")
    height, width = portrait.picture.shape[:2]
    assert drawn_pixels(portrait.faces[0]) <= height * width < portrait.faces[0].crop.side ** 2


def test_a_class_is_found_whole(command):
    assert len(command("faces", FOLDER / "class-of-24-faces-75px.jpg")["faces"]) == 24


def test_phase_inverted_stereo_moves_the_lips(talker, portrait):
    from anitalker.media.soundtrack import Soundtrack

    assert not [word for word in Soundtrack.read(FOLDER / "stereo-inverted.flac").warnings() if "silent" in word]
    inverted, plain = (talker.motion(portrait, FOLDER / f"{name}.flac")[0] for name in ("stereo-inverted", "speech-2s"))
    assert (inverted - plain).abs().mean() < 0.1 * plain.std(0).mean()


def test_mono_keeps_its_level(command, tmp_path):
    output = tmp_path / "level.mp4"
    command("render", FOLDER / "fk00053.webp", FOLDER / "speech-2s.flac", "-o", output)
    report = [ffmpeg(), "-hide_banner", "-i", str(output), "-af", "volumedetect", "-f", "null", "-"]
    said = subprocess.run(report, capture_output=True, text=True, check=True).stderr
    assert float(re.search(r"mean_volume: (\S+) dB", said)[1]) == pytest.approx(-28.3, abs=0.5)
