"""Driving videos from file to motion: the search for the face, the warning about frames without it, the prior."""

import logging
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from anitalker import driving, pipeline
from anitalker.config import InputError
from anitalker.faces.tracking import LOST_INTERVAL
from anitalker.media.writer import VideoWriter
from anitalker.motion.following_crop import LIMIT


@pytest.fixture
def write(tmp_path):
    """Writes a video of 128x128: True is a frame in which the fixed finder sees faces, False a black one."""

    def video(shown, name="drive.mp4"):
        face = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        with VideoWriter(tmp_path / name, 128, 128) as writer:
            for is_shown in shown:
                writer.write(face if is_shown else np.zeros_like(face))
        return tmp_path / name

    return video


@pytest.mark.slow
def test_a_video_that_begins_black(talker, write, caplog):
    """It was refused: `no face was found in the picture`."""
    clip = write([False] * 13 + [True] * 12)
    with caplog.at_level(logging.WARNING):
        motion, identity = talker.encode(clip)
    assert motion.shape == (25, 20) and np.isfinite(motion).all() and np.isfinite(identity).all()
    assert [record.getMessage() for record in caplog.records] == [
        "13 of 25 frames of the driving video without a trustworthy face: held (0.0 to 0.5 s)"
    ]
    np.testing.assert_allclose(motion[:13], np.repeat(motion[13:14], 13, 0), atol=1e-6)


@pytest.mark.slow
def test_the_face_is_away_for_a_while(talker, write, example_portrait, caplog, tmp_path):
    clip = write([True] * 8 + [False] * 5 + [True] * 7)
    with caplog.at_level(logging.WARNING):
        facts = talker.reenact(example_portrait, clip, tmp_path / "out.mp4")
    assert facts["frames"] == 20
    assert [r.getMessage() for r in caplog.records if "trustworthy" in r.getMessage()] == [
        "5 of 20 frames of the driving video without a trustworthy face: held (0.3 to 0.5 s)"
    ]


def test_messages_name_the_driving_video(talker, write, example_portrait, tmp_path):
    clip = write([False] * 14)
    with pytest.raises(InputError, match=r"no face was found in the driving video '.*drive\.mp4'"):
        talker.reenact(example_portrait, clip, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()
    with pytest.raises(InputError, match=r"no face was found in the portrait '.*drive\.mp4'"):
        talker.portrait(clip)


@pytest.mark.slow
def test_one_of_several_drivers(talker, write, fixed_finder):
    talker._finders["own"] = fixed_finder(2)
    clip = write([False] * 3 + [True] * 12)
    squares = []
    model = SimpleNamespace(
        crop=lambda picture, face: squares.append(face.box[0]) or talker.model.crop(picture, face),
        read_codes=talker.model.read_codes,
        driving_filter=None,
    )
    for which in (0, "1", "largest"):
        driving.read_motion(model, talker.finder(), clip, which)
    assert squares[0] < 40 < squares[1] and squares[2] == squares[0]
    with pytest.raises(InputError, match="face 2 was asked for, but 2 faces were found in the driving video"):
        driving.read_motion(model, talker.finder(), clip, 2)
    with pytest.raises(InputError, match="driver-face is all"):
        driving.read_motion(model, talker.finder(), clip, "all")


def prior(limit_of=lambda motion: 30 * motion[..., 0].abs()):
    """A prior that takes the first number for as many spreads of deviation, times 30."""
    return SimpleNamespace(middle=torch.zeros(4), spread=torch.ones(4), log_prob=lambda motion: -limit_of(motion))


def test_motion_that_no_face_shows_is_drawn_towards_the_portrait():
    motion = np.zeros((40, 20), np.float32)
    motion[20, :2] = 1.0  # 30 spreads
    eased, is_lost = driving.within_prior(prior(), motion, np.zeros(20, np.float32))
    assert 30 * np.abs(eased[:, 0]).max() <= driving.MAX_DEVIATION
    assert is_lost[20] and not is_lost[:10].any() and not is_lost[31:].any()


def test_usual_motion_is_not_touched():
    motion = np.random.default_rng(0).uniform(-0.1, 0.1, (30, 20)).astype(np.float32)
    eased, is_lost = driving.within_prior(prior(), motion, np.zeros(20, np.float32))
    np.testing.assert_allclose(eased, motion, atol=1e-6)
    assert not is_lost.any()


def test_an_unusual_portrait_may_move():
    start = np.full(20, 1.0, np.float32)  # 30 spreads by itself
    motion = start + np.random.default_rng(0).uniform(-0.05, 0.05, (30, 20)).astype(np.float32)
    np.testing.assert_allclose(driving.within_prior(prior(), motion, start)[0], motion, atol=1e-6)


@pytest.fixture(scope="module")
def shipped():
    return pipeline.load("lite", "cpu")


@pytest.fixture
def drive(shipped, write_frames):
    """Reads a video of the example portrait on a textured ground, as `places` puts it: x, y, height, ground's x."""

    def run(places):
        return driving.read_motion(shipped.model, shipped.finder(), write_frames(places))

    return run


@pytest.fixture
def write_frames(tmp_path, example_portrait):
    noise = np.random.default_rng(0).uniform(0, 255, (240, 640, 3)).astype(np.float32)
    ground = ((cv2.GaussianBlur(noise, (0, 0), 3) - 127) * 8 + 127).clip(0, 255).astype(np.uint8)
    portrait = np.asarray(Image.open(example_portrait).convert("RGB"))

    def run(places):
        path = tmp_path / "moves.mp4"
        with VideoWriter(path, 320, 240) as writer:
            for place in places:
                frame = ground[:, 160:480].copy()
                if place is not None:
                    x, y, side, moved = place
                    shift = np.float32([[1, 0, moved - 160], [0, 1, 0]])
                    frame = cv2.warpAffine(ground, shift, (320, 240), borderMode=cv2.BORDER_REFLECT)
                    scale = side / portrait.shape[0]
                    put = np.float32([[scale, 0, x], [0, scale, y]])
                    mask = cv2.warpAffine(np.full(portrait.shape[:2], 255, np.uint8), put, (320, 240))[..., None] > 127
                    frame = np.where(mask, cv2.warpAffine(portrait, put, (320, 240), flags=cv2.INTER_AREA), frame)
                writer.write(np.ascontiguousarray(frame))
        return path

    return run


@pytest.mark.slow
def test_a_camera_that_pans_or_shakes_moves_no_head(drive):
    for shift in (30 * np.sin(np.arange(30) / 6), 9 * np.sin(np.arange(30) * 1.1)):
        codes = drive([(90 + x, 90, 130, x) for x in shift]).motion
        assert np.ptp(codes[:, 3], 0) < 0.03  # of a crop; the pan takes it over 0.4
        assert np.abs(codes[:, :3] - codes[0, :3]).max() < np.deg2rad(4)


@pytest.mark.slow
def test_a_walk_a_cut_and_an_absence(drive):
    walk = drive([(10 + 7 * n, 90, 130, 0) for n in range(25)])
    assert walk.seen.all() and np.ptp(walk.motion[:, 3]) < LIMIT[0] + 0.03
    cut = drive([(20, 90, 110, 0)] * 8 + [(150, 60, 150, 110)] * 8)
    assert cut.seen.all() and cut.shots.tolist() == [0] * 8 + [1] * 8
    np.testing.assert_allclose(cut.motion[-1, 3:6], cut.motion[0, 3:6], atol=0.04)
    away = drive([(90, 90, 130, 0)] * 8 + [None] * 12 + [(90, 90, 130, 0)] * 8)
    assert 12 <= (~away.seen).sum() <= 12 + LOST_INTERVAL and away.seen[:8].all() and away.seen[-3:].all()


@pytest.mark.slow
def test_every_face_of_a_class(shipped, root):
    """Only six of these were found: the first scale that saw a face was the last that was tried."""
    names = ("portrait", "man", "woman", "elder")
    scene = np.full((720, 1280, 3), 165, np.uint8)
    for n in range(24):
        picture = Image.open(root / f"app/examples/{names[n % 4]}.webp").convert("RGB").resize((110, 110))
        y, x = 40 + (n // 6) * 165, 50 + (n % 6) * 205
        scene[y : y + 110, x : x + 110] = np.asarray(picture)
    faces = shipped.finder().find(scene)
    assert len(faces) == 24 and max(face.size for face in faces) < 80
    large = Image.open(root / "app/examples/man.webp").convert("RGB").resize((400, 400))
    scene[300:700, 860:1260] = np.asarray(large)
    assert len(shipped.finder().find(scene)) == 24 - 4 + 1  # four are behind the large one


@pytest.mark.slow
def test_an_animation_that_begins_black_is_a_portrait(shipped, example_portrait, tmp_path):
    portrait = Image.open(example_portrait).convert("RGB")
    frames = [Image.new("RGB", portrait.size)] * 14 + [portrait] * 14
    frames[0].save(tmp_path / "late.gif", save_all=True, append_images=frames[1:], duration=40)
    found = shipped.portrait(tmp_path / "late.gif")
    assert len(found.faces) == 1 and found.picture.mean() > 20
