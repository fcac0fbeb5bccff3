"""How one person moves while speaking, against the generator's usual motion: numbers that a person file holds.

Letters: M = 20 motion numbers, K = 14 of expression, W width of the lip regressor.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from anitalker.config import POSE_SIZE, InputError, RenderOptions
from anitalker.motion.generator import MotionGenerator

Network = TypeVar("Network", bound=nn.Module)
LIPS_RANGE, HEAD_RANGE = (0.5, 2.0), (0.25, 2.0)  # of the factors
BLINK_RANGE = (1.5, 15.0)  # seconds
MAX_REST = 0.2  # of any number of `rest`: about the range of expression coefficients
MAX_OPTION = 2.0  # of RenderOptions.head


@dataclass(frozen=True)
class Manner:
    """lips: factor on how far the lips of generated speech leave the neutral face; head: factor on head movement;
    blink_seconds: mean time between two blinks, None is the generator's; rest: code [M] that is added to generated
    speech, where lips and brows of this person rest."""

    lips: float = 1.0
    head: float = 1.0
    blink_seconds: float | None = None
    rest: Tensor | None = None

    def limited(self) -> Manner:
        """The same with every number inside its range; InputError for what is no number."""
        numbers = [self.lips, self.head, self.blink_seconds or 1.0]
        rest = self.rest
        if not torch.tensor(numbers).isfinite().all() or (rest is not None and not rest.isfinite().all()):
            raise InputError("person file has a manner that is no number; make it again with anitalker tune")
        return Manner(
            _within(self.lips, LIPS_RANGE),
            _within(self.head, HEAD_RANGE),
            None if self.blink_seconds is None else _within(self.blink_seconds, BLINK_RANGE),
            None if rest is None else rest.clamp(-MAX_REST, MAX_REST) * (torch.arange(len(rest)) >= POSE_SIZE),
        )

    def options(self, options: RenderOptions) -> RenderOptions:
        """The user's options with this person's head movement."""
        if self.head == 1:
            return options
        return replace(options, head=min(options.head * self.head, MAX_OPTION))


USUAL = Manner()


def _within(value: float, span: tuple[float, float]) -> float:
    return min(max(float(value), span[0]), span[1])


def with_lip_layer(generator: MotionGenerator, weight: Tensor, bias: Tensor) -> MotionGenerator:
    """The generator with another last layer of its lip regressor: weight [K,W], bias [K]; all else is shared.

    InputError where they do not fit.
    """
    lips = generator.lips
    if lips is None or weight.shape != lips.out.weight.shape or bias.shape != lips.out.bias.shape:
        raise InputError("person file has a lip layer that does not fit its model; make it again with anitalker tune")
    regressor, adapted = _shallow(lips), _shallow(generator)
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight, layer.bias = (
        nn.Parameter(value.to(lips.out.weight), requires_grad=False) for value in (weight, bias)
    )
    regressor.out = layer
    adapted.lips = regressor
    return adapted


def _shallow(module: Network) -> Network:
    """A module that shares all of its parts with another, and whose parts can be replaced."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin
