"""Matrix products in float32 on a CPU, by the faster of the two libraries that torch ships: MKL or oneDNN.

torch multiplies with MKL, which runs its AVX2 code on CPUs that are not Intel's. oneDNN, which torch uses for
convolutions, takes the best instructions there are: on a Zen 5 with AVX-512 it is twice as fast (206 against 94 GFLOP/s
and core). Each process measures once which of the two is faster.

Letters: ... any leading sizes, M rows, K inputs, N outputs.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.jit._trace import is_tracing
from torch.nn import functional as F

from anitalker.runtime.device import is_faster

TIMING_ROUNDS = 16


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [...,M,K], weight [N,K], bias [N] -> x weight^T + bias [...,M,N].

    Equivalent to `F.linear(x, weight, bias)` within rounding. oneDNN serves float32 on a CPU without gradients and
    autocast; torch's own product serves everything else, and models that are being traced or exported.
    """
    exact = x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu"
    plain = not (torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"))
    traced = torch.compiler.is_compiling() or is_tracing()
    if exact and plain and not traced and onednn_is_faster():
        return _onednn(x.contiguous(), weight.contiguous(), bias)
    return F.linear(x, weight, bias)


def matmul_nt(a: Tensor, b: Tensor) -> Tensor:
    """a [B,H,M,K], b [B,H,N,K] -> a b^T [B,H,M,N].

    Equivalent to `a @ b.mT` within rounding.
    """
    products = [linear(x, y) for x, y in zip(a.flatten(0, 1), b.flatten(0, 1), strict=True)]
    return torch.stack(products).unflatten(0, a.shape[:2])


class Linear(nn.Linear):
    """`torch.nn.Linear` whose product is `linear`; the names in a state dict are the same.

    Equivalent to `nn.Linear(inputs, outputs)` within rounding.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[...,K] -> [...,N]."""
        return linear(input, self.weight, self.bias)


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Equivalent to `F.linear(x, weight, bias)`, by a private operator of torch."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@functools.cache
def onednn_is_faster() -> bool:
    """Whether oneDNN multiplies in float32 faster than MKL here; False where this torch has no such operator."""
    x, weight = torch.zeros(128, 512), torch.zeros(512, 512)
    try:
        return is_faster(lambda: _onednn(x, weight, None), lambda: F.linear(x, weight), TIMING_ROUNDS)
    except (AttributeError, RuntimeError):  # the operator is private, so a torch may lack it
        return False


@functools.cache
@torch.inference_mode()
def bfloat16_is_faster() -> bool:
    """Whether a product of five seconds of motion is faster in bfloat16, the conversion of its weights included."""
    x, weight = torch.zeros(128, 1024), torch.zeros(1024, 1024)
    return is_faster(lambda: F.linear(x.bfloat16(), weight.bfloat16()), lambda: linear(x, weight), TIMING_ROUNDS)
