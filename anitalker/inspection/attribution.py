"""Saliency maps: occlusion, input gradient, guided backpropagation, integrated gradients.

Letters: M outputs of a function, H x W pixels. A function here maps pictures [B,3,H,W] in [-1,1] to [B,M].
Every method returns how much each pixel matters for each output, [M,H,W], never negative.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from anitalker.config import InputError

Function = Callable[[Tensor], Tensor]
OCCLUSION_WINDOW, OCCLUSION_STRIDE = 32, 16  # pixels: side of the hidden patch, distance between patches
PATH_STEPS = 16  # of integrated gradients
BLUR_STD_PIXELS = 24.0  # of the Gaussian that removes the face from a picture
BATCH_SIZE = 8


def import_extra(package: str) -> Any:
    """Import a package of the extra `inspect`; InputError if it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError:
        name = package.split(".")[0]
        raise InputError(f"inspect needs {name}, which is not here; pip install 'anitalker[inspect]'") from None


def gaussian_blur(picture: Tensor, std: float = BLUR_STD_PIXELS) -> Tensor:
    """Pictures [B,C,H,W] blurred by a Gaussian with standard deviation `std` in pixels."""
    offsets = torch.arange(-int(3 * std), int(3 * std) + 1, device=picture.device, dtype=picture.dtype)
    kernel = torch.exp(-0.5 * (offsets / std) ** 2)
    kernel = (kernel / kernel.sum()).expand(picture.shape[1], 1, -1)
    channels, radius = picture.shape[1], len(offsets) // 2
    padded = F.pad(picture, (radius, radius, radius, radius), "replicate")
    padded = F.conv2d(padded, kernel[:, :, None], groups=channels)
    return F.conv2d(padded, kernel[..., None], groups=channels)


@torch.no_grad()
def occlusion(
    function: Function, picture: Tensor, window: int = OCCLUSION_WINDOW, stride: int = OCCLUSION_STRIDE
) -> Tensor:
    """How far outputs change when a patch is blurred (Zeiler and Fergus 2014): [1,3,H,W] -> [M,H,W].

    A pixel gets the smallest change over all patches that cover it, because patches extend beyond what matters.
    """
    height, width = picture.shape[-2:]
    output, blurred = function(picture)[0], gaussian_blur(picture)
    starts = [(y, x) for y in range(stride - window, height, stride) for x in range(stride - window, width, stride)]
    saliency = torch.full((len(output), height, width), torch.inf, device=picture.device)
    for first in range(0, len(starts), BATCH_SIZE):
        boxes = [
            (slice(None), slice(max(y, 0), y + window), slice(max(x, 0), x + window))
            for y, x in starts[first : first + BATCH_SIZE]
        ]  # patches cross the border too, so that as many cover every pixel
        occluded = picture.repeat(len(boxes), 1, 1, 1)
        for occluded_picture, box in zip(occluded, boxes, strict=True):
            occluded_picture[box] = blurred[0][box]
        for change, box in zip((function(occluded) - output).abs(), boxes, strict=True):
            saliency[box] = torch.minimum(saliency[box], change[:, None, None])
    return saliency


def input_gradient(function: Function, picture: Tensor) -> Tensor:
    """|d output / d pixel|, summed over colours (Simonyan et al. 2014; captum's Saliency)."""
    saliency = import_extra("captum.attr").Saliency(function)
    return _each_output(function, picture, lambda x, index: saliency.attribute(x, target=index))


def integrated_gradients(function: Function, picture: Tensor, steps: int = PATH_STEPS) -> Tensor:
    """Integrated gradients from the blurred picture to the picture (Sundararajan et al. 2017, eq. 1; by captum).

    Before the absolute value is taken, they add up to the difference of the two outputs.
    """
    path = import_extra("captum.attr").IntegratedGradients(function)
    start = gaussian_blur(picture)

    def attribute(x: Tensor, index: int) -> Tensor:
        return path.attribute(x, start, target=index, n_steps=steps, internal_batch_size=BATCH_SIZE)

    return _each_output(function, picture, attribute)


def guided_backpropagation(function: Function, picture: Tensor) -> Tensor:
    """The gradient where rectifiers pass only positive gradients of active units (Springenberg et al. 2015).

    captum's supports ReLU modules only; this one supports smooth and leaky rectifiers too, as functions or modules.
    """

    def attribute(x: Tensor, index: int) -> Tensor:
        x = x.detach().requires_grad_()
        with _GuidedRule():
            (gradient,) = torch.autograd.grad(function(x)[0, index], x)
        return gradient

    return _each_output(function, picture, attribute)


METHODS: dict[str, Callable[[Function, Tensor], Tensor]] = {
    "occlusion": occlusion,
    "input gradient": input_gradient,
    "guided backpropagation": guided_backpropagation,
    "integrated gradients": integrated_gradients,
}


def _each_output(function: Function, picture: Tensor, attribute: Callable[[Tensor, int], Tensor]) -> Tensor:
    with torch.no_grad():
        count = function(picture).shape[1]
    maps = [attribute(picture.clone().requires_grad_(), index) for index in range(count)]
    return torch.cat([heat.detach().abs().sum(1) for heat in maps])


class _Guided(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, out: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return out.clone()

    @staticmethod
    def backward(ctx, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grad_outputs[0].clamp(min=0) * (x > 0), None


class _GuidedRule(TorchFunctionMode):
    """Context manager in which rectifiers of any kind have the guided gradient."""

    RECTIFIERS = (F.silu, F.gelu, F.relu, F.leaky_relu, F.elu, torch.relu)

    def __torch_function__(self, function, kinds, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        return _Guided.apply(args[0], out.detach()) if function in self.RECTIFIERS else out


def combine_maps(maps: Tensor, std: Tensor, indices: Sequence[int]) -> Tensor:
    """Combine maps [M,H,W] of some outputs into one [H,W]: root mean square in units of each output's std [M]."""
    standardised = maps[list(indices)] / std[list(indices), None, None]
    return standardised.square().mean(0).sqrt()


def share_inside(saliency: Tensor, mask: Tensor) -> float:
    """Share of a map [H,W] inside a region, a boolean mask [H,W]."""
    return float(saliency[mask].sum() / saliency.sum().clamp(min=1e-12))
