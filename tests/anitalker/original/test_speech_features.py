"""Speech features of the original's variants: whole video frames that cover the sound, and errors in one line."""

import sys
from types import SimpleNamespace

import pytest
import torch

from anitalker.config import InputError
from anitalker.network_config import VARIANTS, DenoiserConfig
from anitalker.original import speech_features
from anitalker.original.denoiser import Denoiser
from encoders import hubert, mfcc

TINY = dict(width=8, speech_hidden=8, decoder_hidden=8, side=2, control=4, hubert=6, hubert_layers=4, mfcc_hidden=4)


def denoiser(variant: str) -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(DenoiserConfig(variant=variant, speech_layers=1, decoder_layers=1, **TINY)).eval()


@pytest.fixture
def fake_hubert(monkeypatch):
    """A HuBERT with the real frame counts, whose features are frame indices; the (source, weights) of its loads."""
    loads = []

    def features(samples):
        count = max(0, (len(samples) - 400) // 320) + 2
        return torch.arange(count).float()[:, None].expand(-1, 6)

    def load(source, weights):
        loads.append((source, weights))
        network = torch.nn.Module()
        network.config = SimpleNamespace(hidden_size=6)
        return SimpleNamespace(network=network, features=features)

    monkeypatch.setattr(hubert, "load", load)
    return loads


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("samples", [1, 640, 641, 15_999, 16_000, 16_001])
@torch.no_grad()
def test_motion_is_not_shorter_than_sound(variant, samples, fake_hubert):
    """T = ceil(25 seconds) frames, where the original stops up to 60 ms early."""
    net = denoiser(variant)
    sound = speech_features.load_speech_frontend(net)(0.1 * torch.randn(samples))
    frames = -(-samples * 25 // 16_000)
    assert sound.shape[:2] == (1, frames * net.config.sound_rate)
    condition = net.condition(sound, torch.zeros(1, 512), torch.zeros(1, 20))
    assert condition.fixed.shape[1] == frames


def test_only_the_end_is_repeated(fake_hubert):
    """All features but the repeated ones are those of the original."""
    samples = 0.1 * torch.randn(16_000)
    features, plain = (
        speech_features.load_speech_frontend(denoiser("mfcc_pose_only"))(samples)[0],
        mfcc.features(samples),
    )
    assert len(plain) == 99 and torch.equal(features[:99], plain) and torch.equal(features[99], plain[98])
    padded = speech_features.load_speech_frontend(denoiser("hubert_pose_only"))(torch.zeros(1000))[0]
    assert padded[:, 0].tolist() == [0, 1, 2, 2]


def test_hubert_is_weighted_by_the_generator(fake_hubert):
    net = denoiser("hubert_pose_only")
    speech_features.load_speech_frontend(net, "somewhere")
    assert fake_hubert[0][0] == "somewhere" and torch.equal(fake_hubert[0][1], net.layer_weights())


def test_errors_are_one_line_and_name_the_way_out(monkeypatch, tmp_path, fake_hubert):
    wide = Denoiser(DenoiserConfig(**{**TINY, "hubert": 12}, speech_layers=1, decoder_layers=1))
    with pytest.raises(InputError, match="is 6 wide, the motion generator needs 12; use TencentGameMate"):
        speech_features.load_speech_frontend(wide, tmp_path)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r'pip install "anitalker\[hubert\]"; the mfcc variants need no HuBERT$'):
        speech_features.load_speech_frontend(denoiser("hubert_pose_only"))
    assert speech_features.load_speech_frontend(denoiser("mfcc_pose_only")).rate == 4
