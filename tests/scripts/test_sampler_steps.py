"""The study of sampler steps on a narrow network and made-up clips: what is compared with what."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from anitalker.config import DenoiserConfig, GeneratorConfig, to_dict
from anitalker.motion.generator import MotionGenerator
from anitalker.original.denoiser import Denoiser
from scripts import sampler_steps
from scripts.training.denoiser_data import Scale
from scripts.training.motion_data import MotionClip
from scripts.training.motion_statistics import Space


@pytest.fixture
def given(monkeypatch):
    """What is studied, clips and statistics."""
    monkeypatch.setattr(sampler_steps, "MANY", 20)
    torch.manual_seed(0)
    network = MotionGenerator(GeneratorConfig(speech_size=5, width=16, layers=1, heads=2, speech_layers=1)).eval()
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    rng = np.random.default_rng(0)
    row = {"id": "a", "speaking_visible": "yes", "has_audio": "yes", "generated": "no"}
    sound, neutral = rng.normal(size=30 * 640).astype(np.float32), rng.random((468, 3), np.float32)
    codes, lips = rng.normal(size=(30, 20)).astype(np.float32), rng.random(30, np.float32)
    clips = [MotionClip(row, codes * 0.1, np.ones(30, bool), sound, lips, lips, neutral)]
    directions = rng.normal(size=(14, 468, 3)).astype(np.float32) * 0.01
    space = Space(directions, np.zeros(20), np.ones(20), np.zeros(14), np.eye(20), np.eye(20))
    return sampler_steps.of_lite(network, lambda sound: sound.unflatten(0, (-1, 640))[:, :5]), clips, space


def test_more_steps_come_nearer(given):
    many, one, five, same = sampler_steps.study(*given, (1, 5, 20))
    assert one["all"] > 1.5 * five["all"] > 0 and same["all"] == 0
    assert many["all"] > 0  # two seeds
    assert same["passes"] and same["lip_correlation"] == many["lip_correlation"]
    text = sampler_steps.table([many, one, five, same])
    assert text.count("\n") == 5 and "20, another seed" in text


def test_a_head_that_hardly_moves_does_not_pass(given, monkeypatch):
    monkeypatch.setattr(sampler_steps, "KEPT", 1e9)
    assert not any(row["passes"] for row in sampler_steps.study(*given, (5,))[1:])


def test_the_originals_network(given, tmp_path):
    """A narrow one: more steps of its sampler come nearer to many, and a seed repeats its motion."""
    _, clips, space = given
    torch.manual_seed(1)
    sizes = {"width": 16, "mfcc_hidden": 8, "side": 8, "control": 4, "decoder_hidden": 16, "decoder_layers": 1}
    network = Denoiser(DenoiserConfig("mfcc_pose_only", start=6, **sizes)).eval()
    (tmp_path / "run").mkdir()
    stored = {f"stage2.{name}": value.contiguous() for name, value in network.state_dict().items()}
    config = {"config": json.dumps({"stage2": to_dict(network.config)})}
    save_file(stored, tmp_path / "run/weights.safetensors", config)
    options = SimpleNamespace(denoiser=str(tmp_path / "run"))
    subject, _ = sampler_steps.subject_of(options, Scale(space.mean, space.std))
    _, few, same = sampler_steps.study(subject, clips, space, (5, 20))
    assert few["all"] > same["all"] == 0
    assert torch.equal(subject.made(clips[0], 5, 0), subject.made(clips[0], 5, 0))


def test_the_originals_path_ends_where_ours_does(given):
    """A network that knows the clean motion, whatever the noise: both paths and any steps end there."""
    _, clips, _ = given

    class Knows(MotionGenerator):
        def forward(self, noisy, *rest):
            return self.clean[:, : noisy.shape[1]]

    network = Knows(GeneratorConfig(speech_size=5, width=16, layers=1, heads=2, speech_layers=1)).eval()
    network.clean = torch.linspace(-2.9, 2.9, 29 * 20).reshape(1, 29, 20)
    subject = sampler_steps.on_the_originals_path(network, lambda sound: sound.unflatten(0, (-1, 640))[:, :5])
    start = torch.from_numpy(clips[0].codes[:1])
    wanted = network.denormalise(network.clean, start)[0]
    with torch.no_grad():
        for steps in (2, 10, 50):
            assert torch.allclose(subject.made(clips[0], steps, 0), wanted, atol=1e-3)


def test_without_features(tmp_path, capsys):
    assert sampler_steps.main(["--features", str(tmp_path)]) == 2
    assert "no clips.json" in capsys.readouterr().err
