"""Matrix products in float32 by the quicker of the two libraries that torch brings for processors.

torch multiplies by MKL, which gives processors that are not Intel's its AVX2 code. oneDNN, which torch uses for
convolutions, takes what is there: on a Zen 5 with AVX-512 it multiplies twice as fast (206 against 94 GFLOP/s and
core). Which one is quicker here is tried once per process.

Letters: ... any leading sizes, M rows, K numbers in, N numbers out.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.runtime.device import is_faster

TURNS = 16


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [...,M,K], weight [N,K] -> x weight^T + bias [...,M,N], as `F.linear` within rounding.

    Only float32 on a processor, without gradients and autocast, takes oneDNN; all else, and what is traced for another
    program, is torch's own.
    """
    exact = x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu"
    free = not (torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"))
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if exact and free and not traced and onednn_is_faster():
        return _onednn(x.contiguous(), weight.contiguous(), bias)
    return F.linear(x, weight, bias)


def matmul_nt(a: Tensor, b: Tensor) -> Tensor:
    """a [B,H,M,K], b [B,H,N,K] -> a b^T [B,H,M,N]."""
    rows = [linear(x, y) for x, y in zip(a.flatten(0, 1), b.flatten(0, 1), strict=True)]
    return torch.stack(rows).unflatten(0, a.shape[:2])


class Linear(nn.Linear):
    """torch's layer by `linear`; the same names in a state dict."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@functools.cache
def onednn_is_faster() -> bool:
    """Whether oneDNN multiplies in float32 sooner; no where this torch has no such product."""
    x, weight = torch.zeros(128, 512), torch.zeros(512, 512)
    try:
        return is_faster(lambda: _onednn(x, weight, None), lambda: F.linear(x, weight), TURNS)
    except (AttributeError, RuntimeError):  # it stands in no contract of torch's
        return False


@functools.cache
@torch.inference_mode()
def bfloat16_is_faster() -> bool:
    """Whether a product of five seconds of motion is made sooner in bfloat16, weights turned into it included."""
    x, weight = torch.zeros(128, 1024), torch.zeros(1024, 1024)
    return is_faster(lambda: F.linear(x.bfloat16(), weight.bfloat16()), lambda: linear(x, weight), TURNS)
