"""Windows for the sync judge: lips and speech stay together, altered lips stay lips, people share the draws."""

import numpy as np
import pytest
import torch

from encoders.speech import SpeechFeatures
from scripts.evaluation.sync_judge import MOUTH
from scripts.training.sync_data import SyncClip
from scripts.training.sync_examples import (
    GENERATED_WEIGHT,
    SILENCE,
    WINDOW,
    SyncExamples,
    alter_speech,
    landmark_noise,
    repeat_frames,
    speech_of,
)


@pytest.fixture
def clip(face):
    def build(offset="0", frames=100, **row):
        row = {"identity": "a", "generated": "no", "shard": "x", "av_offset_frames": offset} | row
        shapes = face[list(MOUTH), :2].repeat(frames, 1, 1)
        log_mel = torch.arange(4.0 * frames)[:, None].expand(-1, 80) / 100 - 10
        return SyncClip(row, shapes, log_mel, torch.arange(float(frames))[:, None].expand(-1, 2))

    return build


@pytest.mark.parametrize(("offset", "first", "heard"), [("0", 20, 20), ("3", 20, 23), ("-2", 20, 18)])
def test_late_sound_is_brought_back(clip, offset, first, heard):
    log_mel, pitch = speech_of(clip(offset), first)
    assert log_mel.shape == (4 * WINDOW, 80) and pitch.shape == (WINDOW, 2)
    assert pitch[:, 0].tolist() == list(range(heard, heard + WINDOW))
    assert log_mel[:, 0].allclose(torch.arange(4.0 * heard, 4 * (heard + WINDOW)) / 100 - 10)


def test_beyond_the_clip_there_is_silence(clip):
    log_mel, pitch = speech_of(clip("4"), 100 - WINDOW)
    assert (log_mel[-16:] == SILENCE).all() and (log_mel[:-16] > SILENCE).all()
    assert (pitch[-4:] == 0).all() and pitch[-5, 0] == 99


def test_who_is_drawn(clip, face):
    clips = [
        clip(identity="much"),
        clip(identity="much"),
        clip(identity="little"),
        clip(generated="yes", identity="other"),
    ]
    left_out = [clip(""), clip(frames=WINDOW - 1)]
    examples = SyncExamples([*clips, *left_out], SpeechFeatures(), face)
    assert len(examples.clips) == 4
    share = examples.share / examples.share[2]
    np.testing.assert_allclose(share, [0.5**0.5, 0.5**0.5, 1, GENERATED_WEIGHT])


def test_a_batch_repeats_by_its_seed(clip, face):
    examples = SyncExamples([clip(), clip(identity="b")], SpeechFeatures(), face)
    batches = []
    for _ in range(2):
        torch.manual_seed(0)
        batches.append(examples.batch(3, seed=5))
    shapes, speech = batches[0]
    assert shapes.shape == (3, WINDOW, 57, 2) and speech.shape == (3, WINDOW, 323)
    assert all(torch.equal(a, b) for a, b in zip(*batches, strict=True))
    assert shapes.isfinite().all() and speech.isfinite().all()


def test_altered_lips_are_still_that_mouth(clip, face):
    """An asymmetric opening: mirrored or not, its course over time survives, and the mouth stays where it is."""
    examples = SyncExamples([clip()], SpeechFeatures(), face)
    course = torch.sin(torch.arange(float(WINDOW)) / 3)
    shapes = face[list(MOUTH), :2].repeat(16, WINDOW, 1, 1)
    shapes[:, :, MOUTH.index(14), 1] += 0.05 * course
    altered = examples.alter_lips(shapes.clone())
    assert (altered - shapes).abs().max() < 0.2 and not torch.equal(altered, shapes)
    opening = altered[:, :, MOUTH.index(14), 1] - altered[:, :, MOUTH.index(13), 1]
    correlations = [np.corrcoef(curve, course)[0, 1] for curve in opening.numpy()]
    assert np.median(correlations) > 0.9
    sides = examples.mirror.tolist()
    assert sides[MOUTH.index(61)] == MOUTH.index(291) and sides[MOUTH.index(14)] == MOUTH.index(14)


def test_altered_speech_has_other_levels_but_its_course():
    course = torch.sin(torch.arange(280.0) / 9)[None, :, None]
    log_mel = (course * 3 - 8).expand(64, -1, 80)
    altered = alter_speech(log_mel, torch.full_like(log_mel, -8.0))
    assert (altered >= SILENCE).all()
    levels = altered.mean((1, 2))
    assert levels.std() > 0.4
    correlations = [np.corrcoef(window.mean(1), course[0, :, 0])[0, 1] for window in altered.numpy()]
    assert np.min(correlations) > 0.5 and np.median(correlations) > 0.95


def test_landmark_noise_is_shared_by_the_mouth(face):
    shape = face[list(MOUTH), :2]
    noise = landmark_noise((shape - shape.mean(0)).expand(64, WINDOW, -1, -1))
    assert noise.std().item() == pytest.approx(1, abs=0.3)
    assert noise.mean(2).std() > 0.4  # independent points would give 0.13
    neighbours = (noise[:, 1:] * noise[:, :-1]).mean() / noise.square().mean()
    assert 0.2 < neighbours < 0.8


def test_some_frames_repeat():
    shapes = torch.arange(float(WINDOW))[None, :, None, None].repeat(200, 1, 57, 2)
    numbers = repeat_frames(shapes)[:, :, 0, 0]
    steps = numbers.diff(dim=1)
    assert (numbers <= torch.arange(float(WINDOW))).all() and (numbers[:, 0] == 0).all() and (steps >= 0).all()
    repeated = (steps == 0).float().mean(1)
    assert 0.1 < (repeated > 0).float().mean() < 0.3 and 0.05 < repeated[repeated > 0].mean() < 0.4
