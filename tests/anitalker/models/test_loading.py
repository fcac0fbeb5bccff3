"""Weights: strict, tensors only; what is wrong is named in one line."""

import json
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from anitalker.config import InputError
from anitalker.faces.face_network import FaceNetwork
from anitalker.models import loading
from anitalker.network_config import DetectorConfig, LandmarkConfig, to_dict
from anitalker.weights import registry

DETECTOR = DetectorConfig(channels=(8, 8, 8, 8), pyramid=8)
LANDMARKS = LandmarkConfig(channels=(8, 8, 8), blocks=1, neck=2, coefficients=2)
CONFIG = {"detector": to_dict(DETECTOR), "landmarks": to_dict(LANDMARKS)}


@pytest.fixture
def tensors():
    return {key: tensor.clone() for key, tensor in FaceNetwork(DETECTOR, LANDMARKS).state_dict().items()}


def save(path, tensors, config=CONFIG):
    save_file(tensors, path, {"config": json.dumps(config)})
    return path


def refused(path, words, load=loading.load_face):
    with pytest.raises(InputError, match=words) as error:
        load(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600
    return str(error.value)


class Code:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


def test_what_is_saved_is_loaded(tmp_path, tensors):
    loaded = loading.load_face(save(tmp_path / "face.safetensors", tensors)).state_dict()
    assert loaded.keys() == tensors.keys()
    for key, tensor in tensors.items():
        torch.testing.assert_close(loaded[key], tensor)


def test_loading_draws_no_random_weights(tmp_path, tensors):
    """They would be overwritten at once, and took half of the time."""
    path, state = save(tmp_path / "face.safetensors", tensors), torch.get_rng_state()
    loading.load_face(path)
    assert torch.equal(torch.get_rng_state(), state)


def test_half_precision_and_pt(tmp_path, tensors):
    half = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
    torch.save({"config": CONFIG, "weights": half}, tmp_path / "face.pt")
    loaded = loading.load_face(tmp_path / "face.pt").state_dict()
    for key, tensor in tensors.items():
        assert loaded[key].dtype == tensor.dtype
        torch.testing.assert_close(loaded[key], tensor, atol=1e-3, rtol=1e-3)


def test_missing_unknown_and_wrong_keys_are_named(tmp_path, tensors):
    first, second, *_ = tensors
    tensors["detector.surprise"] = torch.zeros(1)
    del tensors[first]
    tensors[second] = torch.zeros(3, 1, 4)
    message = refused(save(tmp_path / "x.safetensors", tensors), "do not fit")
    assert first in message and "detector.surprise" in message and f"{second} is [3, 1, 4]" in message


@pytest.mark.parametrize("name", ["evil.pt", "evil.safetensors", "evil.pkl", "evil.bin"])
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_pickle_with_code_does_not_run(tmp_path, name, writer):
    payload = {"config": CONFIG, "weights": {"x": Code(tmp_path / "it-ran")}}
    if writer == "torch":
        torch.save(payload, tmp_path / name)
    else:
        (tmp_path / name).write_bytes(pickle.dumps(payload))
    refused(tmp_path / name, "weights")
    assert not (tmp_path / "it-ran").exists()


def test_code_is_called_code(tmp_path):
    torch.save({"config": CONFIG, "weights": {"x": Code(tmp_path / "it-ran")}}, tmp_path / "evil.pt")
    refused(tmp_path / "evil.pt", "hold code")


@pytest.mark.parametrize("keep", [0, 7, 100, -10])
def test_cut_files(tmp_path, tensors, keep):
    whole = save(tmp_path / "whole.safetensors", tensors).read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:keep])
    refused(tmp_path / "cut.safetensors", "not a whole safetensors file")


def test_nan_is_refused(tmp_path, tensors):
    tensors["detector.stem.1.0.weight"][0] = float("nan")
    refused(save(tmp_path / "x.safetensors", tensors), "NaN")


@pytest.mark.parametrize("config", [None, [], {}, {"detector": 3}, {**CONFIG, "landmarks": {"width": 3}}])
def test_configs_that_fit_nothing(tmp_path, tensors, config):
    refused(save(tmp_path / "x.safetensors", tensors, config), "config")


def test_a_forged_size_builds_nothing(tmp_path, tensors):
    config = {**CONFIG, "landmarks": {**CONFIG["landmarks"], "coefficients": 10**12}}
    refused(save(tmp_path / "x.safetensors", tensors, config), "allowed is up to")


def test_files_by_name_are_checked(tmp_path, tensors, monkeypatch):
    path = save(tmp_path / "face.safetensors", tensors)
    monkeypatch.setenv("ANITALKER_CHECKPOINTS", str(tmp_path))
    monkeypatch.setitem(registry.REGISTRY, "face", replace(registry.REGISTRY["face"], sha256=registry.sha256(path)))
    loading.load_face("face")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    refused("face", "SHA-256")


def test_what_is_no_weight_file(tmp_path):
    (tmp_path / "model.onnx").touch()
    refused(tmp_path / "model.onnx", ".safetensors, .pt, .ckpt", loading.read)


def test_the_original_s_files_are_no_model_of_ours(tmp_path):
    torch.save({"enc.fc.0.bias": torch.ones(3)}, tmp_path / "stage1.ckpt")
    refused(tmp_path / "stage1.ckpt", "use --model original --stage1", loading.load_model)
    torch.save({"ema_model.out_proj.bias": torch.ones(3)}, tmp_path / "x.ckpt")
    refused(tmp_path / "x.ckpt", "use --model original --stage2", loading.load_model)
