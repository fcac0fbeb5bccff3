"""One view on the encoders of all families: pyramid, HAL, motion head, each open to gradients.

Letters: B pictures [B,3,256,256] in [-1,1], S stages, D width of a stage's code, M motion numbers.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from anitalker.config import CROP, InputError
from anitalker.models.base import Model
from anitalker.models.lite import Lite
from anitalker.models.original import Original, resize_to_network
from anitalker.motion.motion_space import upright
from anitalker.runtime.transfer import to_tensor

POSE = ("yaw", "pitch", "roll", "x", "y", "size")


class View(Protocol):
    """What the report asks of an encoder. names [M] of the numbers; spread [M], one usual step of each."""

    names: tuple[str, ...]
    spread: Tensor

    def seen(self, pictures: np.ndarray) -> Tensor:
        """Crops uint8 [B,256,256,3] -> what the encoder finally reads [B,3,n,n] in [-1,1]."""

    def pyramid(self, seen: Tensor) -> list[Tensor]:
        """Feature maps of every stage [B,C,H,W], the largest first."""

    def codes(self, pyramid: list[Tensor]) -> Tensor:
        """Each stage's own code before weighing [B,S,D]."""

    def weights(self) -> Tensor:
        """HAL's weights [S]; they add up to one."""

    def head(self, code: Tensor) -> Tensor:
        """Aggregated codes [B,D] -> motion [B,M]."""

    def motion(self, seen: Tensor) -> Tensor:
        """Pictures as `seen` gives them -> motion [B,M], with gradients."""


class _View:
    def motion(self, seen: Tensor) -> Tensor:
        codes = self.codes(self.pyramid(seen))
        return self.head((codes * self.weights()[:, None]).sum(1))


class LiteView(_View):
    """The family `lite`. It looks twice; this is its second look: the face upright, centred, of one size."""

    def __init__(self, model: Lite) -> None:
        self.space, self.device = model.space, model.device
        expression = self.space.config.expression_size
        self.names = (*POSE, *(f"e{number}" for number in range(1, expression + 1)))
        self.spread = self.space.motion_std

    @torch.no_grad()
    def seen(self, pictures: np.ndarray) -> Tensor:
        images = torch.cat([to_tensor(one, self.device) for one in pictures])
        return upright(self.space.look(images).motion).pictures(images)

    def pyramid(self, seen: Tensor) -> list[Tensor]:
        return self.space.encoder(seen)

    def codes(self, pyramid: list[Tensor]) -> Tensor:
        return self.space.hal.stages(pyramid)

    def weights(self) -> Tensor:
        return self.space.hal.weights()

    def head(self, code: Tensor) -> Tensor:
        space = self.space
        return space.motion_out(space.motion_head(code)) * space.motion_std + space.motion_mean


class OriginalView(_View):
    """The family `original`: its numbers have no names, and one usual step is taken to be a tenth of their range."""

    def __init__(self, model: Original) -> None:
        self.encoder, self.model, self.device = model.stage_one.enc, model, model.device
        size = model.stage_one.config.motion
        self.names, self.spread = tuple(f"m{n}" for n in range(1, size + 1)), torch.full((size,), 0.1)

    @torch.no_grad()
    def seen(self, pictures: np.ndarray) -> Tensor:
        return resize_to_network(torch.cat([to_tensor(one, self.device) for one in pictures]), self.model.size)

    def pyramid(self, seen: Tensor) -> list[Tensor]:
        return self.encoder.net_app(seen)

    def codes(self, pyramid: list[Tensor]) -> Tensor:
        return self.encoder.net_app.aggregate(pyramid)[1]

    def weights(self) -> Tensor:
        return self.encoder.net_app.ws.weights.softmax(0)

    def head(self, code: Tensor) -> Tensor:
        return self.encoder.fc(self.encoder.net_decouping.identity_excluded_net(code))


def view_of(model: Model) -> View:
    """The view on a loaded model."""
    views = {"lite": LiteView, "original": OriginalView}
    if model.family not in views:
        raise InputError(f"model {model.name} is of the family {model.family}; inspect knows {', '.join(views)}")
    return views[model.family](model)


def to_display(pictures: Tensor) -> np.ndarray:
    """[B,3,n,n] in [-1,1] -> float [B,n,n,3] in 0..1."""
    return ((pictures.detach().cpu() + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).numpy()


def blank(view: View) -> Tensor:
    """A grey picture in the encoder's size [1,3,n,n]: what contributions are counted from."""
    side = view.seen(np.full((1, CROP, CROP, 3), 128, np.uint8)).shape[-1]
    return torch.zeros(1, 3, side, side, device=view.spread.device)
