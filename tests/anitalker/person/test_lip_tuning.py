"""The lip regressor's last layer: fitted where it helps, left alone where it does not; late sound is noticed."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from anitalker.motion.generator import MotionGenerator
from anitalker.network_config import GeneratorConfig
from anitalker.person.lip_tuning import Spoken, _shifted, hidden, listen, tune_lips


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = GeneratorConfig(
        speech_size=6, width=8, layers=1, heads=2, speech_layers=1, lips_width=12, window=20, previous=5
    )
    generator = MotionGenerator(config).eval().requires_grad_(False)
    generator.spoken.copy_(torch.diag((torch.arange(20) >= 6).float()))
    directions = torch.linalg.qr(torch.randn(468 * 3, 14))[0]
    return SimpleNamespace(generator=generator, space=SimpleNamespace(directions=directions), device="cpu")


def said(model, change, noise, frames=600):
    """Speech whose lips are those of the regressor with another last layer, and noise."""
    torch.manual_seed(1)
    features = torch.randn(frames, 6)
    lips = model.generator.lips.out
    wanted = hidden(model.generator, features) @ (lips.weight + change).T + lips.bias
    motion = torch.cat([torch.zeros(frames, 6), wanted + noise * torch.randn_like(wanted)], 1).numpy()
    return Spoken(features, motion, np.zeros(frames), np.arange(frames) % 7 > 0, 0)


def test_a_person_s_layer_is_found(model):
    change = 0.5 * torch.randn(14, 12)
    spoken = said(model, change, 0.05)
    result = tune_lips(model, [spoken])
    assert result.after < 0.3 * result.before
    h = hidden(model.generator, spoken.features)
    fitted = h @ result.layer["weight"].T + result.layer["bias"]
    assert (fitted - torch.from_numpy(spoken.motion[:, 6:])).std() < 0.3 * (h @ change.T).std()


def test_noise_alone_teaches_nothing(model):
    result = tune_lips(model, [said(model, torch.zeros(14, 12), 1.0)])
    assert result.layer == {} and result.after == result.before


def test_too_little_speech_is_not_learned_from(model):
    assert tune_lips(model, [said(model, torch.zeros(14, 12), 1.0, frames=100)]) is None


def test_windows_see_the_frames_before_them(model):
    features = torch.randn(50, 6)
    whole = hidden(model.generator, features)
    assert whole.shape == (50, 12)
    changed = features.clone()
    changed[18] += 3
    difference = (hidden(model.generator, changed) - whole).abs().amax(1)
    assert difference[21] > 0 and difference[45] == 0


def test_late_sound_is_shifted(model):
    spoken = said(model, torch.zeros(14, 12), 0.01)
    late = torch.cat([torch.randn(4, 6), spoken.features])[:600]  # the sound of frame t comes at t + 4
    take = SimpleNamespace(speech=np.zeros(1, np.float32), motion=spoken.motion, free=np.ones(600, bool))
    take.at_speech = lambda values: values
    model.speech_features = lambda samples: late[None]
    heard = listen(model, take, np.arange(600.0))
    assert heard.lag == 4 and len(heard.features) == len(heard.motion) == 596
    assert torch.equal(heard.features, spoken.features[:596]) and heard.opening[0] == 0


@pytest.mark.parametrize("lag", [-2, 0, 3])
def test_a_shift_pairs_sound_with_its_face(lag):
    sound, face = _shifted(lag, np.arange(20), np.arange(20), np.ones(20, bool))
    assert (sound - face == lag).all() and len(sound) == 20 - abs(lag)
