"""The sync judge: a shift is found again with its sign, heads and faces do not count, and what is refused."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from anitalker.config import InputError
from anitalker.faces.landmarks import from_canonical
from scripts.evaluation.sync_judge import (
    GAP_SCALE,
    JAW,
    MAX_SHIFT,
    MOUTH,
    SyncJudge,
    SyncJudgeNetwork,
    lip_features,
    mouth_shapes,
    shifted_cosines,
    verdict,
)


def unit_vectors(count, seed=0):
    values = torch.randn(count, 16, generator=torch.manual_seed(seed))
    return torch.nn.functional.normalize(values, dim=-1)


@pytest.mark.parametrize("late", [-4, 0, 7])
def test_late_sound_has_a_positive_offset(late):
    embeddings = unit_vectors(100)
    lips, speech = embeddings[20:80], embeddings[20 - late : 80 - late]  # what lips show at t is heard at t + late
    found = verdict(shifted_cosines(lips, speech))
    assert found["offset_frames"] == late
    assert found["confidence"] == pytest.approx(1, abs=0.1)


def test_frames_without_speech_do_not_count():
    lips, speech = unit_vectors(60), unit_vectors(60)
    cosines = shifted_cosines(lips, speech[:40])
    assert cosines[:40, MAX_SHIFT].allclose(torch.ones(40))
    assert cosines[40:, MAX_SHIFT].isnan().all() and cosines[39, MAX_SHIFT + 1 :].isnan().all()
    assert verdict(cosines)["offset_frames"] == 0


def test_a_shift_that_leaves_few_frames_cannot_win():
    cosines = torch.zeros(40, 2 * MAX_SHIFT + 1)
    cosines[:, MAX_SHIFT + 2] = 0.5
    cosines[:, -1] = torch.nan
    cosines[0, -1] = 1.0
    assert verdict(cosines) == {"confidence": 0.5, "offset_frames": 2}


def test_sound_may_end_early():
    found = verdict(shifted_cosines(unit_vectors(100), unit_vectors(100)[:30]))
    assert found["offset_frames"] == 0 and found["confidence"] > 0.8


def test_the_head_does_not_count(face):
    assert len(MOUTH) == 57 and JAW[8] == 152
    pose = torch.tensor([[0.3, -0.2, 0.1, 0.05, -0.04, -0.7], [0, 0, 0, 0, 0, 0.0]])
    landmarks = from_canonical(face.expand(2, -1, -1), pose).numpy() * 300  # in any unit
    shapes = mouth_shapes(landmarks, face)
    torch.testing.assert_close(shapes, face[list(MOUTH), :2].expand(2, -1, -1), atol=1e-3, rtol=0)


def test_features_are_free_of_the_neutral_face_but_know_the_gap(face):
    shapes = face[list(MOUTH), :2].expand(1, 40, -1, -1) + 0.01 * torch.randn(1, 40, 57, 2)
    width = 4 * len(MOUTH)
    torch.testing.assert_close(
        lip_features(shapes + torch.tensor([0.05, -0.1]))[..., :width],
        lip_features(shapes)[..., :width],
        atol=1e-4,
        rtol=0,
    )
    lowered = shapes.clone()
    lowered[:, :, MOUTH.index(14), 1] += 0.1  # below its partner, point 13
    assert (lip_features(lowered) - lip_features(shapes))[0, 0, width].item() == pytest.approx(
        0.1 * GAP_SCALE, rel=1e-3
    )


def test_every_weight_learns():
    network = SyncJudgeNetwork(width=8, size=4).train()
    lips, speech = network(torch.randn(2, 30, 57, 2), torch.randn(2, 30, 323))
    assert lips.norm(dim=-1).allclose(torch.ones(2, 30)) and speech.shape == (2, 30, 4)
    (network.log_scale * (lips * speech).sum(-1)).square().mean().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())


def syllables(frames, seed=1):
    """An opening [frames] of syllables of uneven length, and a voice [640 frames] that is loud while it is open."""
    rng = np.random.default_rng(seed)
    opening = np.zeros(frames)
    first = 3
    while first < frames - 8:
        length = int(rng.integers(4, 8))
        opening[first : first + length] = np.hanning(length + 2)[1:-1] * rng.uniform(0.6, 1)
        first += length + int(rng.integers(0, 7))
    time = np.arange(frames * 640) / 16_000
    buzz = sum(np.sin(2 * np.pi * 120 * k * time) / k * np.exp(-(((120 * k - 700) / 900) ** 2)) for k in range(1, 30))
    loudness = np.interp(np.arange(frames * 640) / 640 - 0.5, np.arange(frames), opening)
    return opening, (0.2 * buzz * loudness).astype(np.float32)


def opened(face, opening):
    """The face [T,468,3] in pixels with the lower lip and the jaw let down."""
    lowered = torch.zeros(468)
    lowered[[14, 87, 178, 88, 95, 317, 402, 318, 324, 17, 84, 181, 91, 146, 314, 405, 321, 375]] = 1.0
    lowered[list(JAW[4:13])] = 0.8
    shapes = face + torch.tensor(opening, dtype=torch.float32)[:, None, None] * 0.08 * lowered[:, None] * torch.tensor(
        [0.0, 1.0, 0.0]
    )
    return (shapes * 150 + 200).numpy()


def test_the_shipped_judge_finds_the_shift_of_spoken_syllables(face):
    opening, voice = syllables(120)
    judge, landmarks = SyncJudge(), opened(face, opening)
    in_time = judge(landmarks, voice)
    late = judge(landmarks, np.concatenate([np.zeros(6 * 640, np.float32), voice]))
    assert abs(in_time["offset_frames"]) <= 2
    assert late["offset_frames"] - in_time["offset_frames"] == 6
    unrelated = judge(landmarks, syllables(120, seed=5)[1])
    assert min(in_time["confidence"], late["confidence"]) > 2 * unrelated["confidence"]
    silent = judge(landmarks, np.zeros(120 * 640, np.float32))
    assert silent["confidence"] < in_time["confidence"] / 3


def test_the_shipped_judge_says_how_good_it_is():
    accuracy = SyncJudge().config["accuracy"]
    assert accuracy["filmed"]["two_seconds"] > 0.9 and accuracy["generated"]["two_seconds"] > 0.9


def test_less_than_a_second_is_a_usage_error(face):
    judge = SyncJudge()
    with pytest.raises(InputError, match="20 frames"):
        judge(opened(face, np.zeros(60)), np.zeros(20 * 640, np.float32))
    with pytest.raises(InputError, match="24 frames"):
        judge(opened(face, np.zeros(60)), np.zeros(60 * 640, np.float32), np.arange(60) < 24)


def test_other_weights_are_a_usage_error(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors", {"config": "{}"})
    with pytest.raises(InputError, match="no sync judge"):
        SyncJudge(tmp_path / "other.safetensors")
