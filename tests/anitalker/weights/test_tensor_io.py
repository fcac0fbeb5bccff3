"""Weight files: tensors come back, code never runs, and what is no weight file is called what it is."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from anitalker.config import InputError
from anitalker.weights import tensor_io

MAPS = Path("/proc/self/maps")
TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b.steps": torch.tensor(1000), "c.half": torch.ones(4).half()}


class Code:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


def refused(path, words):
    with pytest.raises(InputError, match=words) as error:
        tensor_io.read(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def same(tensors):
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype and torch.equal(tensors[name], tensor)


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".CKPT"])
@pytest.mark.parametrize("zipped", [True, False])
def test_flat_dicts_of_torch_save(tmp_path, suffix, zipped):
    path = tmp_path / f"x{suffix}"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=zipped)
    config, tensors = tensor_io.read(path)
    assert config is None
    same(tensors)


def test_wrappers_are_opened(tmp_path):
    torch.save({"epoch": 3, "state_dict": TENSORS, "loss": {"a": 1.0}}, tmp_path / "wrapped.ckpt")
    torch.save({"config": {"kind": "x"}, "weights": TENSORS}, tmp_path / "ours.pt")
    assert tensor_io.read(tmp_path / "wrapped.ckpt")[0] is None
    same(tensor_io.read(tmp_path / "wrapped.ckpt")[1])
    assert tensor_io.read(tmp_path / "ours.pt")[0] == {"kind": "x"}
    same(tensor_io.read(tmp_path / "ours.pt")[1])


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "x.safetensors"
    tensor_io.write(path, {"kind": "test", "widths": [1, 2]}, TENSORS)
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]
    assert tensor_io.read(path)[0] == {"kind": "test", "widths": [1, 2]}
    same(tensor_io.read(path)[1])


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_text("before")
    with pytest.raises(TypeError):
        tensor_io.write(path, {"not JSON": {1, 2}}, TENSORS)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("x.safetensors", "before")]


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", ["evil.pt", "evil.ckpt", "evil.safetensors"])
def test_a_payload_does_not_run(tmp_path, name, protocol):
    target = tmp_path / "it-ran"
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"a": torch.ones(1), "b": Code(target)}, protocol))
    (tmp_path / "evil.pkl").rename(tmp_path / name)
    refused(tmp_path / name, "weights")
    assert not target.exists()
    (tmp_path / name).rename(tmp_path / "evil.pkl")
    pickle.loads((tmp_path / "evil.pkl").read_bytes())["b"].close()  # the payload is a true one
    assert target.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_payload_among_tensors_is_called_code(tmp_path, zipped):
    content = {**TENSORS, "zz": Code(tmp_path / "it-ran")}
    torch.save(content, tmp_path / "evil.ckpt", _use_new_zipfile_serialization=zipped)
    refused(tmp_path / "evil.ckpt", "hold code")
    assert not (tmp_path / "it-ran").exists()
    torch.load(tmp_path / "evil.ckpt", weights_only=False)["zz"].close()
    assert (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("text", ["", "hello", "<html><body>404</body></html>", '{"a": 1}'])
@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".safetensors"])
def test_text_is_no_weight_file(tmp_path, text, suffix):
    (tmp_path / f"x{suffix}").write_text(text)
    refused(tmp_path / f"x{suffix}", "get them again")


@pytest.mark.parametrize("keep", [1, 100, 0.5, -1])
@pytest.mark.parametrize("zipped", [True, False])
def test_cut_files(tmp_path, keep, zipped):
    torch.save({"a": torch.randn(5000)}, tmp_path / "x.ckpt", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "x.ckpt").read_bytes()
    (tmp_path / "x.ckpt").write_bytes(whole[: int(keep * len(whole)) if keep == 0.5 else keep])
    refused(tmp_path / "x.ckpt", "get them again")


def test_a_pointer_of_git_lfs_is_called_that(tmp_path):
    (tmp_path / "x.ckpt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 187780891\n")
    refused(tmp_path / "x.ckpt", "git lfs pull")


@pytest.mark.parametrize(
    "content",
    [
        {"a": {"b": 1}},
        {"a": torch.eye(3).to_sparse()},
        {"a": torch.ones(2, device="meta")},
        {"a": torch.ones(1).expand(10**12)},  # 4 TB in a file of one kilobyte
        {3: torch.ones(1)},
        {},
        [torch.ones(1)],
        torch.ones(1),
    ],
    ids=["nested", "sparse", "meta", "forged", "numbered", "nothing", "list", "tensor"],
)
def test_what_is_not_named_tensors(tmp_path, content):
    torch.save(content, tmp_path / "x.pt")
    refused(tmp_path / "x.pt", "named tensors|empty|names with tensors")


@pytest.mark.skipif(not MAPS.exists(), reason="needs Linux")
def test_unused_tensors_cost_no_memory(tmp_path):
    """A file is mapped: what is not read stays on the disk, and writing through the views does not reach it."""
    torch.save({"dead": torch.zeros(1 << 20), "live": torch.ones(3)}, tmp_path / "x.ckpt")
    tensors = tensor_io.read(tmp_path / "x.ckpt")[1]
    assert str(tmp_path / "x.ckpt") in MAPS.read_text()
    tensors["live"] += 1
    assert torch.equal(tensor_io.read(tmp_path / "x.ckpt")[1]["live"], torch.ones(3))


def test_other_suffixes_and_metadata(tmp_path):
    (tmp_path / "x.onnx").touch()
    refused(tmp_path / "x.onnx", ".safetensors, .pt, .ckpt")
    save_file(TENSORS, tmp_path / "x.safetensors", {"config": json.dumps([1, 2])})
    assert tensor_io.read(tmp_path / "x.safetensors")[0] is None
    save_file(TENSORS, tmp_path / "x.safetensors", {"config": "{not JSON"})
    refused(tmp_path / "x.safetensors", "not a whole safetensors file")


def test_nan_is_named(tmp_path):
    with pytest.raises(InputError, match="NaN or infinity in 'b'"):
        tensor_io.check_finite(tmp_path, {"a": torch.ones(2), "b": torch.tensor([1, float("inf")])})
    tensor_io.check_finite(tmp_path, TENSORS)
