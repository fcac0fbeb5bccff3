"""ONNX files: every part gives in ONNX Runtime what it gives in torch, at sizes other than those it was traced with."""

import pytest
import torch

from anitalker.models import loading
from scripts import export, onnx_files


@pytest.fixture(scope="module")
def exported(untrained_model, tmp_path_factory):
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("onnx")
    export.main([str(untrained_model), "--onnx", str(folder)])
    return loading.load_model(untrained_model), folder


def longer(part, name, tensor):
    """The same input with one more of whatever may vary; L = p + n stays true."""
    more = {"B": 1, "L": 7, "p": 3, "n": 4}
    sizes = [
        size + more[part.free.get(name, {}).get(axis, "")] if axis in part.free.get(name, {}) else size
        for axis, size in enumerate(tensor.shape)
    ]
    return torch.rand(sizes)


@pytest.mark.parametrize("name", onnx_files.PARTS)
def test_onnx_runtime_agrees_with_torch(exported, name):
    onnxruntime = pytest.importorskip("onnxruntime")
    networks, folder = exported
    part = onnx_files.PARTS[name](networks)
    session = onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_outputs()] == list(part.outputs)
    torch.manual_seed(1)
    for inputs in (part.inputs, {key: longer(part, key, one) for key, one in part.inputs.items()}):
        with torch.no_grad():
            wanted = part(*inputs.values())
        made = session.run(None, {key: one.numpy() for key, one in inputs.items()})
        for mine, theirs in zip(wanted if isinstance(wanted, tuple) else (wanted,), made, strict=True):
            assert mine.abs().max() > 1e-3
            torch.testing.assert_close(torch.from_numpy(theirs), mine, atol=1e-4, rtol=1e-4)
