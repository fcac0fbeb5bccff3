"""A common view of the encoders of all families: pyramid, HAL and motion head, with gradients.

Letters: B pictures [B,3,256,256] in [-1,1], S stages, D width of a stage's code, M motion numbers.
"""

from __future__ import annotations

from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor

from anitalker.config import CROP, InputError
from anitalker.models.base import Model
from anitalker.models.lite import Lite
from anitalker.models.original import Original, resize_to_network
from anitalker.motion.motion_space import upright
from anitalker.runtime.transfer import to_tensor

POSE_NAMES = ("yaw", "pitch", "roll", "x", "y", "size")


class View(Protocol):
    """An encoder as the report uses it. names [M]: of the motion numbers; std [M]: standard deviation of each."""

    names: tuple[str, ...]
    std: Tensor

    def encoder_input(self, pictures: np.ndarray) -> Tensor:
        """Crops uint8 [B,256,256,3] -> the encoder's input [B,3,n,n] in [-1,1]."""
        ...

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Feature maps of every stage [B,C,H,W], the largest first, of images from `encoder_input`."""
        ...

    def codes(self, pyramid: list[Tensor]) -> Tensor:
        """The code of each stage before it is weighted [B,S,D]."""
        ...

    def weights(self) -> Tensor:
        """HAL's weights [S]; they add up to 1."""
        ...

    def head(self, code: Tensor) -> Tensor:
        """Aggregated codes [B,D] -> motion [B,M]."""
        ...

    def motion(self, images: Tensor) -> Tensor:
        """Images from `encoder_input` -> motion [B,M], with gradients."""
        codes = self.codes(self.pyramid(images))
        return self.head((codes * self.weights()[:, None]).sum(1))


class LiteView(View):
    """The family `lite`. Its encoder runs twice; this is the second pass: the face upright, centred, of one size."""

    def __init__(self, model: Lite) -> None:
        self.space, self.device = model.space, model.device
        expression = self.space.config.expression_size
        self.names = (*POSE_NAMES, *(f"e{number}" for number in range(1, expression + 1)))
        self.std = self.space.motion_std

    @torch.no_grad()
    def encoder_input(self, pictures: np.ndarray) -> Tensor:
        """Crops uint8 [B,256,256,3], aligned as in the second pass -> [B,3,256,256] in [-1,1]."""
        images = torch.cat([to_tensor(picture, self.device) for picture in pictures])
        return upright(self.space.look(images).motion).pictures(images)

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """As `View.pyramid`."""
        return self.space.encoder(images)

    def codes(self, pyramid: list[Tensor]) -> Tensor:
        """As `View.codes`."""
        return self.space.hal.stages(pyramid)

    def weights(self) -> Tensor:
        """As `View.weights`."""
        return self.space.hal.weights()

    def head(self, code: Tensor) -> Tensor:
        """As `View.head`."""
        space = self.space
        return space.motion_out(space.motion_head(code)) * space.motion_std + space.motion_mean


class OriginalView(View):
    """The family `original`. Its numbers have no names, and their standard deviation is taken to be 0.1 (of -1..1)."""

    def __init__(self, model: Original) -> None:
        self.encoder, self.model, self.device = model.stage_one.enc, model, model.device
        size = model.stage_one.config.motion
        self.names, self.std = tuple(f"m{n}" for n in range(1, size + 1)), torch.full((size,), 0.1)

    @torch.no_grad()
    def encoder_input(self, pictures: np.ndarray) -> Tensor:
        """Crops uint8 [B,256,256,3] -> [B,3,n,n] in [-1,1], n the networks' size."""
        images = torch.cat([to_tensor(picture, self.device) for picture in pictures])
        return resize_to_network(images, self.model.size)

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """As `View.pyramid`."""
        return self.encoder.net_app(images)

    def codes(self, pyramid: list[Tensor]) -> Tensor:
        """As `View.codes`."""
        return self.encoder.net_app.aggregate(pyramid)[1]

    def weights(self) -> Tensor:
        """As `View.weights`."""
        return self.encoder.net_app.ws.weights.softmax(0)

    def head(self, code: Tensor) -> Tensor:
        """As `View.head`."""
        return self.encoder.fc(self.encoder.net_decouping.identity_excluded_net(code))


def view_of(model: Model) -> View:
    """The view of a loaded model's encoder; InputError for a family that inspection does not support."""
    if model.family == "lite":
        return LiteView(cast(Lite, model))
    if model.family == "original":
        return OriginalView(cast(Original, model))
    raise InputError(f"model {model.name} is of the family {model.family}; inspect knows lite, original")


def to_display(pictures: Tensor) -> np.ndarray:
    """Images [B,3,n,n] in [-1,1] -> float [B,n,n,3] in 0..1."""
    return ((pictures.detach().cpu() + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).numpy()


def grey_input(view: View) -> Tensor:
    """A grey image in the encoder's size [1,3,n,n], the reference for contributions."""
    side = view.encoder_input(np.full((1, CROP, CROP, 3), 128, np.uint8)).shape[-1]
    return torch.zeros(1, 3, side, side, device=view.std.device)
