"""Where a picture decides on a number: occlusion, input gradient, guided backpropagation, integrated gradients.

Letters: M numbers of a function, H x W pixels. A function here takes pictures [B,3,H,W] in [-1,1] and gives [B,M].
Every method returns how much each pixel matters for each number, [M,H,W], never negative.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from anitalker.config import InputError

Function = Callable[[Tensor], Tensor]
WINDOW, STRIDE = 32, 16  # pixels: of the patch that occlusion hides, and from one to the next
STEPS = 16  # of the path of integrated gradients
BLUR = 24.0  # pixels: deviation of the Gaussian that makes a picture without a face out of one with
BATCH = 8


def need(package: str):
    """A package of the extra `inspect`; InputError if it is not there."""
    try:
        return importlib.import_module(package)
    except ImportError:
        name = package.split(".")[0]
        raise InputError(f"inspect needs {name}, which is not here; pip install 'anitalker[inspect]'") from None


def blurred(picture: Tensor, deviation: float = BLUR) -> Tensor:
    """Pictures [B,C,H,W] under a Gaussian of that deviation in pixels."""
    reach = torch.arange(-int(3 * deviation), int(3 * deviation) + 1, device=picture.device, dtype=picture.dtype)
    kernel = torch.exp(-0.5 * (reach / deviation) ** 2)
    kernel = (kernel / kernel.sum()).expand(picture.shape[1], 1, -1)
    count, half = picture.shape[1], len(reach) // 2
    wide = F.pad(picture, (half, half, half, half), "replicate")
    wide = F.conv2d(wide, kernel[:, :, None], groups=count)
    return F.conv2d(wide, kernel[..., None], groups=count)


@torch.no_grad()
def occlusion(function: Function, picture: Tensor, window: int = WINDOW, stride: int = STRIDE) -> Tensor:
    """How far the numbers move when a patch is blurred away (Zeiler and Fergus 2014): [1,3,H,W] -> [M,H,W].

    A pixel gets the least change of all patches over it: patches reach beyond what matters, their overlap does less.
    """
    height, width = picture.shape[-2:]
    base, hidden = function(picture)[0], blurred(picture)
    starts = [(y, x) for y in range(stride - window, height, stride) for x in range(stride - window, width, stride)]
    found = torch.full((len(base), height, width), torch.inf, device=picture.device)
    for at in range(0, len(starts), BATCH):
        boxes = [
            (slice(None), slice(max(y, 0), y + window), slice(max(x, 0), x + window))
            for y, x in starts[at : at + BATCH]
        ]  # over the border too, so that every pixel lies under as many
        changed = picture.repeat(len(boxes), 1, 1, 1)
        for one, box in zip(changed, boxes, strict=True):
            one[box] = hidden[0][box]
        for moved, box in zip((function(changed) - base).abs(), boxes, strict=True):
            found[box] = torch.minimum(found[box], moved[:, None, None])
    return found


def input_gradient(function: Function, picture: Tensor) -> Tensor:
    """|d number / d pixel|, summed over colours (Simonyan et al. 2014; captum's Saliency)."""
    saliency = need("captum.attr").Saliency(function)
    return _each(function, picture, lambda given, number: saliency.attribute(given, target=number))


def integrated_gradients(function: Function, picture: Tensor, steps: int = STEPS) -> Tensor:
    """Gradients along the way from the blurred picture to the picture, times the way (Sundararajan et al. 2017, eq. 1;
    captum's IntegratedGradients). Signed, they would add up to the difference of the two outputs."""
    path = need("captum.attr").IntegratedGradients(function)
    start = blurred(picture)

    def attribute(given: Tensor, number: int) -> Tensor:
        return path.attribute(given, start, target=number, n_steps=steps, internal_batch_size=BATCH)

    return _each(function, picture, attribute)


def guided_backpropagation(function: Function, picture: Tensor) -> Tensor:
    """The gradient where rectifiers pass only positive gradients of active units (Springenberg et al. 2015).

    captum's knows modules of ReLU alone; this one takes every smooth or leaky rectifier, however it is called.
    """

    def attribute(given: Tensor, number: int) -> Tensor:
        given = given.detach().requires_grad_()
        with _GuidedRule():
            (slope,) = torch.autograd.grad(function(given)[0, number], given)
        return slope

    return _each(function, picture, attribute)


METHODS: dict[str, Callable[[Function, Tensor], Tensor]] = {
    "occlusion": occlusion,
    "input gradient": input_gradient,
    "guided backpropagation": guided_backpropagation,
    "integrated gradients": integrated_gradients,
}


def _each(function: Function, picture: Tensor, attribute: Callable[[Tensor, int], Tensor]) -> Tensor:
    with torch.no_grad():
        count = function(picture).shape[1]
    maps = [attribute(picture.clone().requires_grad_(), number) for number in range(count)]
    return torch.cat([one.detach().abs().sum(1) for one in maps])


class _Guided(torch.autograd.Function):
    @staticmethod
    def forward(context, x: Tensor, out: Tensor) -> Tensor:
        context.save_for_backward(x)
        return out.clone()

    @staticmethod
    def backward(context, slope: Tensor) -> tuple[Tensor, None]:
        (x,) = context.saved_tensors
        return slope.clamp(min=0) * (x > 0), None


class _GuidedRule(TorchFunctionMode):
    """While it is on, rectifiers of any kind have the guided gradient."""

    RECTIFIERS = (F.silu, F.gelu, F.relu, F.leaky_relu, F.elu, torch.relu)

    def __torch_function__(self, function, kinds, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        return _Guided.apply(args[0], out.detach()) if function in self.RECTIFIERS else out


def together(maps: Tensor, spread: Tensor, numbers: Sequence[int]) -> Tensor:
    """Maps [M,H,W] of some numbers as one [H,W]: root of the mean square, each in steps of its spread [M]."""
    chosen = maps[list(numbers)] / spread[list(numbers), None, None]
    return chosen.square().mean(0).sqrt()


def share_inside(saliency: Tensor, mask: Tensor) -> float:
    """Part of a map [H,W] that lies in a region, a boolean mask [H,W]."""
    return float(saliency[mask].sum() / saliency.sum().clamp(min=1e-12))
