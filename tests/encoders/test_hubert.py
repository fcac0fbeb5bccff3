"""HuBERT's weighted states: frame counts, windows without seams, weights of the states, error messages."""

import json
import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from encoders import hubert

pytestmark = pytest.mark.slow

KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)  # HuBERT's: a frame is 400 samples, every 320
WEIGHTS = torch.tensor([0.1, 0.4, 0.2, 0.3])


class Layer(nn.Module):
    """Sees one frame to both sides: [B,T,S] -> [B,T,S]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.near = nn.Conv1d(width, width, 3, padding=1)

    def forward(self, x):
        return torch.tanh(self.near(x.transpose(1, 2))).transpose(1, 2)


class StandIn(nn.Module):
    """Has what we use of a HubertModel: config, encoder.layers, last_hidden_state; three layers, quick."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.config = SimpleNamespace(conv_kernel=KERNELS, conv_stride=STRIDES, hidden_size=width)
        sizes = pairwise([1] + [width] * len(KERNELS))
        self.front = nn.ModuleList(
            nn.Conv1d(*size, kernel, stride) for size, kernel, stride in zip(sizes, KERNELS, STRIDES, strict=True)
        )
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(Layer(width) for _ in range(3))
        self.lengths, self.states = [], []

    def forward(self, sound):
        x = sound[:, None]
        for convolution in self.front:
            x = torch.tanh(3 * convolution(x))
        self.lengths.append(x.shape[-1])
        self.states = [x.transpose(1, 2)]
        for layer in self.encoder.layers:
            self.states.append(layer(self.states[-1]))
        return SimpleNamespace(last_hidden_state=self.states[-1])


def noise(samples: int) -> torch.Tensor:
    return 0.2 * torch.randn(samples, generator=torch.Generator().manual_seed(samples)) + 0.3


@pytest.mark.parametrize(("samples", "frames"), [(1, 2), (399, 2), (400, 2), (719, 2), (720, 3), (16_000, 50)])
def test_frames_and_the_last_once_more(samples, frames):
    """50 per second: one is lost to the convolutions, and the last one is repeated, as the original does."""
    features = hubert.Hubert(StandIn(), WEIGHTS).features(noise(samples))
    assert features.shape == (frames, 6) and features.dtype == torch.float32
    assert torch.equal(features[-1], features[-2]) and features.isfinite().all()


def test_every_state_counts_by_its_weight():
    network = StandIn()
    features = hubert.Hubert(network, WEIGHTS).features(noise(8000))
    wanted = sum(weight * state[0] for weight, state in zip(WEIGHTS, network.states, strict=True))
    assert len(network.states) == 4
    assert torch.allclose(features[:-1], wanted, atol=1e-6)


def test_recordings_are_levelled():
    model = hubert.Hubert(StandIn(), WEIGHTS)
    sound = noise(8000)
    features = model.features(sound)
    assert torch.allclose(model.features(0.1 * sound - 0.5), features, atol=1e-3)
    plain = hubert.Hubert(StandIn(), WEIGHTS, normalise=False)
    level = (sound - sound.mean()) / (sound.var(correction=0) + 1e-7).sqrt()
    assert torch.allclose(plain.features(level), features, atol=1e-5)
    assert not torch.allclose(plain.features(sound), features, atol=0.1)


@pytest.mark.parametrize("seconds", [0.4, 0.42, 0.9, 1.0, 2.0, 3.33])
def test_windows_leave_no_seam(monkeypatch, seconds):
    """As in one window, where the context covers the receptive field; several windows all have full length."""
    sound = noise(int(16_000 * seconds))
    whole = hubert.Hubert(StandIn(), WEIGHTS).features(sound)
    monkeypatch.setattr(hubert, "WINDOW_FRAMES", 20)
    monkeypatch.setattr(hubert, "CONTEXT_FRAMES", 4)
    network = StandIn()
    features = hubert.Hubert(network, WEIGHTS).features(sound)
    assert features.shape == whole.shape
    assert torch.allclose(features, whole, atol=1e-5)
    assert network.lengths == [min(20, len(whole) - 1)] * len(network.lengths)
    assert len(network.lengths) == max(1, -(-(len(whole) - 1 - 8) // 12))


def test_without_context_there_would_be_seams(monkeypatch):
    """The test above can fail."""
    sound = noise(16_000)
    whole = hubert.Hubert(StandIn(), WEIGHTS).features(sound)
    monkeypatch.setattr(hubert, "WINDOW_FRAMES", 20)
    monkeypatch.setattr(hubert, "CONTEXT_FRAMES", 1)
    assert not torch.allclose(hubert.Hubert(StandIn(), WEIGHTS).features(sound), whole, atol=1e-3)


def test_another_number_of_layers_is_refused():
    with pytest.raises(ValueError, match=r"has 3 layers; the motion generator weighs 24, as .*chinese-hubert-large"):
        hubert.Hubert(StandIn(), torch.ones(25) / 25)
    with pytest.raises(ValueError, match="at least one sample"):
        hubert.Hubert(StandIn(), WEIGHTS).features(torch.zeros(0))


def test_without_the_package_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match=r'^HuBERT needs .*: pip install "anitalker\[hubert\]"$'):
        hubert.load(tmp_path, WEIGHTS)


@pytest.mark.parametrize("source", ["nobody/nothing", "no such folder", "", "a/b/c"])
def test_without_the_weights_it_says_how_to_get_them(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match="hf download TencentGameMate/chinese-hubert-large config") as error:
        hubert.find(source)
    assert "\n" not in str(error.value) and "1.3 GB" in str(error.value)


def test_a_hub_name_is_found_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    copy = tmp_path / "models--somebody--hubert"
    (copy / "snapshots/0123456789abcdef").mkdir(parents=True)
    (copy / "refs").mkdir()
    (copy / "refs/main").write_text("0123456789abcdef")
    (copy / "snapshots/0123456789abcdef/config.json").write_text("{}")
    assert hubert.find("somebody/hubert") == copy / "snapshots/0123456789abcdef"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A HuBERT of the large layout with small random weights, in the file format of the published one."""
    transformers = pytest.importorskip("transformers", reason='pip install "anitalker[hubert]"')
    torch.manual_seed(0)
    config = transformers.HubertConfig(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=20,
        conv_dim=(8,) * 7,
        conv_bias=True,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
    )
    network = transformers.HubertModel(config).eval()
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("hubert")
    config.save_pretrained(folder)
    spelled = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    tensors = {}
    for key, value in network.state_dict().items():
        for new, old in spelled.items():
            key = key.replace(new, old)
        tensors[key] = value.clone()
    torch.save(tensors, folder / "pytorch_model.bin")
    return folder, network, tensors


def test_all_states_of_transformers(saved):
    """Against the network's own modules, one after the other: the last state is the normed one."""
    folder, network, _ = saved
    sound = noise(8000)
    level = (sound - sound.mean()) / (sound.var(correction=0) + 1e-7).sqrt()
    with torch.no_grad():
        x = network.feature_projection(network.feature_extractor(level[None]).transpose(1, 2))
        x = x[0] if isinstance(x, tuple) else x
        encoder = network.encoder
        states = [x + encoder.pos_conv_embed(x)]
        for layer in encoder.layers:
            output = layer(states[-1])
            states.append(output[0] if isinstance(output, tuple) else output)
        states[-1] = encoder.layer_norm(states[-1])
    wanted = sum(weight * state[0] for weight, state in zip(WEIGHTS, states, strict=True))
    features = hubert.load(folder, WEIGHTS).features(sound)
    assert features.shape == (25, 16)
    assert torch.allclose(features[:-1], wanted, atol=1e-5)


def test_the_feature_extractor_may_switch_levelling_off(saved, tmp_path):
    folder, _, _ = saved
    for name in ("config.json", "pytorch_model.bin"):
        (tmp_path / name).symlink_to(folder / name)
    assert hubert.load(tmp_path, WEIGHTS).normalise
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False}))
    assert not hubert.load(tmp_path, WEIGHTS).normalise


def test_half_a_file_is_not_filled_with_random_numbers(saved, tmp_path):
    folder, _, tensors = saved
    (tmp_path / "config.json").symlink_to(folder / "config.json")
    with pytest.raises(ValueError, match="holds no HuBERT that transformers can read"):
        hubert.load(tmp_path, WEIGHTS)
    kept = {key: value for key, value in tensors.items() if "layers.1.attention.k_proj" not in key}
    torch.save(kept, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"lacks 2 tensors \(encoder.layers.1.attention.k_proj.bias"):
        hubert.load(tmp_path, WEIGHTS)
    (tmp_path / "pytorch_model.bin").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match="holds no HuBERT that transformers can read") as error:
        hubert.load(tmp_path, WEIGHTS)
    assert "\n" not in str(error.value)
