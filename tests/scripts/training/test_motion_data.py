"""Clips brought back to their sound, and windows of them: of any length, repeatable, silent where they shall be."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anitalker.config import POSE_SIZE
from encoders.speech import SpeechFeatures
from scripts.training.motion_data import MotionClip, MotionExamples, blink_course, load_motion, measure


@pytest.fixture
def clips(motion_folder):
    return load_motion(motion_folder, "train")


@pytest.fixture
def examples(motion_folder, clips):
    return MotionExamples(clips, SpeechFeatures(), measure(motion_folder, clips).spoken)


@pytest.mark.parametrize(("p", "n"), [(1, 5), (25, 30), (25, 200)])
def test_windows_of_any_length(examples, p, n):
    batch = examples.batch(3, p, n, 0)
    assert batch["speech"].shape == (3, p + n, examples.features.size)
    assert batch["motion"].shape == (3, p + n, 20) and batch["good"].shape == (3, p + n)
    assert all(value.isfinite().all() for value in batch.values() if value.is_floating_point())


def test_a_seed_repeats_the_batch(examples):
    first, again, other = (examples.batch(2, 1, 10, seed) for seed in (5, 5, 6))
    assert all(torch.equal(first[name], value) for name, value in again.items())
    assert not torch.equal(first["motion"], other["motion"])


def test_a_portrait_is_where_its_motion_begins(examples):
    batch = examples.batch(6, 1, 30, 0)
    assert torch.allclose(batch["motion"][:, 0], batch["start"])
    assert (batch["motion"][:, 1] - batch["motion"][:, 0]).abs()[:, POSE_SIZE:].max() < 0.1


def test_mute_clips_teach_no_speech(examples, clips):
    assert [clip.speaks for clip in clips] == [True, False]
    examples.share = np.array([0.0, 1.0])
    assert examples.batch(3, 1, 10, 0)["deaf"].all()


def test_silence_closes_the_lips_and_keeps_sound_and_codes_together(examples, clips):
    clip = clips[0]
    sound, codes, good = examples.silence(clip.segment, 40, at=50)
    assert len(codes) == len(good) == 200 and len(sound) == 200 * 640
    spoken = codes @ examples.spoken
    assert np.abs(spoken[56:86]).max() < 1e-5 < np.abs(spoken[:50]).max()
    assert np.array_equal(codes[:50], clip.codes[:50]) and np.array_equal(codes[90:], clip.codes[50:])
    assert np.abs(sound[50 * 640 : 90 * 640]).max() < 0.01
    assert np.abs(np.diff(spoken[:, POSE_SIZE])).max() <= np.abs(np.diff(clip.codes[:, POSE_SIZE])).max()


@pytest.mark.parametrize("late", [2.0, -2.0, 1.25, -0.75])
def test_late_sound_comes_back_to_its_lips(clips, late):
    """A click in the sound `late` frames after frame 40 ends where frame 40 now is."""
    clip = replace(clips[0], sound=np.zeros(160 * 640, np.float32), codes=clips[0].codes.copy())
    clip.codes[40] = 9
    clip.sound[int((40 + late) * 640)] = 1
    clip.shift(late)
    assert len(clip.sound) == 640 * len(clip.codes) and len(clip.codes) == len(clip.good) == len(clip.lips) <= 160
    assert abs(int(clip.sound.argmax()) - 640 * int((clip.codes[:, 0] == 9).argmax())) <= 1


def test_the_course_of_a_blink_is_blink_and_closes_the_eyes():
    """Thirty made-up blinks on one direction that lowers the upper lids: the course begins and ends open."""
    face = np.load(Path(__file__).parents[2] / "canonical_face.npy")
    directions = np.zeros((14, 468, 3), np.float32)
    for upper, lower in ((160, 144), (158, 153), (385, 380), (387, 373)):
        directions[3, upper] = 0.5 * (face[lower] - face[upper])
    course = np.array([0.1, 0.4, 1.0, 0.7, 0.4, 0.2, 0.1], np.float32)
    codes = np.zeros((1500, 20), np.float32)
    for begin in range(20, 1480, 50):
        codes[begin : begin + 7, 9] = course
    eyes = 0.3 - 0.15 * codes[:, 9]
    row = {"id": "blinker", "generated": "no"}
    clip = MotionClip(row, codes, np.ones(1500, bool), np.zeros(1500 * 640, np.float32), 0 * eyes, eyes, face)
    blink = blink_course([clip], directions)
    assert blink.shape == (14, 20) and np.abs(blink[[0, -1]]).max() < 1e-6
    assert blink[5, 9] == pytest.approx(2.0, abs=0.1) == np.abs(blink).max()  # half closed in the labels: twice as far
