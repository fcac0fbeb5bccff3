"""Products by oneDNN: the same numbers as torch's own; not used for gradients or other number formats."""

import time

import pytest
import torch
from torch.nn import functional as F

from anitalker.runtime import matmul


@pytest.fixture
def onednn_calls(monkeypatch):
    """The calls to oneDNN, as if it were always faster."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch has no oneDNN linear operator")
    calls, multiply = [], matmul._onednn
    monkeypatch.setattr(matmul, "onednn_is_faster", lambda: True)
    monkeypatch.setattr(matmul, "_onednn", lambda *args: calls.append(args) or multiply(*args))
    return calls


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7,), (1, 1), (2, 5), (2, 3, 4)])
@torch.no_grad()
def test_linear_is_torch_s(onednn_calls, shape, bias):
    torch.manual_seed(0)
    layer, x = matmul.Linear(6, 9, bias=bias), torch.randn(*shape, 6)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))
    turned = torch.randn(6, *shape).movedim(0, -1)  # strided
    torch.testing.assert_close(layer(turned), F.linear(turned, layer.weight, layer.bias))
    assert len(onednn_calls) == 2


@torch.no_grad()
def test_batches_of_products(onednn_calls):
    torch.manual_seed(0)
    a, b = torch.randn(2, 3, 5, 4), torch.randn(1, 3, 7, 4).expand(2, -1, -1, -1)
    torch.testing.assert_close(matmul.matmul_nt(a, b), a @ b.mT)
    assert len(onednn_calls) == 6


def test_gradients_short_formats_and_exports_stay_with_torch(onednn_calls, monkeypatch):
    layer, x = matmul.Linear(6, 9), torch.randn(2, 6)
    layer(x).sum().backward()
    assert layer.weight.grad.abs().sum() > 0
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    with torch.no_grad():
        assert layer.bfloat16()(x.bfloat16()).dtype == torch.bfloat16
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # as while a model is exported
        matmul.Linear(6, 9)(x)
    assert not onednn_calls


@torch.no_grad()
def test_without_such_a_product_torch_s_own_serves(monkeypatch):
    def absent(*args):
        raise AttributeError("no such operator")

    monkeypatch.setattr(matmul, "_onednn", absent)
    matmul.onednn_is_faster.cache_clear()
    try:
        assert not matmul.onednn_is_faster()
        assert matmul.Linear(6, 9)(torch.ones(2, 6)).shape == (2, 9)
    finally:
        matmul.onednn_is_faster.cache_clear()


def test_the_faster_format_is_measured_once(monkeypatch):
    """The slower product loses, and is measured once."""
    matmul.bfloat16_is_faster.cache_clear()
    multiply, turns = matmul.linear, []
    monkeypatch.setattr(matmul, "linear", lambda *args: turns.append(time.sleep(0.02)) or multiply(*args))
    monkeypatch.setattr(matmul, "TIMING_ROUNDS", 2)
    assert matmul.bfloat16_is_faster() and matmul.bfloat16_is_faster() and len(turns) == 2
    matmul.bfloat16_is_faster.cache_clear()
    monkeypatch.setattr(matmul, "linear", lambda *args: None)
    assert not matmul.bfloat16_is_faster()
    matmul.bfloat16_is_faster.cache_clear()
