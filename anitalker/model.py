"""What every family of models gives the pipeline, and which family a name or a file belongs to.

Letters: B frames at once, T video frames, M motion numbers, N samples of sound.

`lite` is our own small model, `original` the published AniTalker networks. The pipeline knows neither.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from anitalker.config import InputError, RenderOptions
from anitalker.face import Crop, Face

Path = str | os.PathLike
Progress = Callable[[str, int, int], None]  # stage, done, total


class Subject(Protocol):
    """One face of a portrait, ready to move; what else it holds is the family's own business."""

    @property
    def crop(self) -> Crop:
        """Where the face stands in the picture."""

    @property
    def motion(self) -> Tensor:
        """The portrait's own motion code [1,M]."""


class Model(Protocol):
    """A loaded model on a device. Every method is free of state: same arguments, same result."""

    name: str  # for people
    device: torch.device
    size: int  # side of a face-crop frame in pixels
    steps: int  # sampler steps where none are asked for
    calm: dict[str, float] | None  # One-Euro filter over the codes of a driving video; None: as they are read

    def check(self, options: RenderOptions) -> None:
        """InputError for options that this model cannot serve, with what to do."""

    def crop(self, picture: np.ndarray, face: Face) -> Crop:
        """The square of a picture, uint8 [H,W,3], that this model wants to see."""

    def subject(self, picture: np.ndarray, crop: Crop) -> Subject:
        """Everything that is done once per face."""

    def read(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Crops uint8 [B,256,256,3] -> motion codes [B,M] and identity codes [B,D]."""

    def hear(self, samples: Tensor) -> Tensor:
        """Sound [N] at 16 kHz in -1..1, as recorded -> features [1,rT,S], r per video frame, T = ceil(25 seconds)."""

    def move(
        self, sound: Tensor, subject: Subject, options: RenderOptions, seed: int, progress: Progress | None = None
    ) -> Tensor:
        """Features of `hear` -> motion [T,M]; the same for the same seed."""

    def draw(self, subject: Subject, motion: Tensor, full: bool) -> Iterator[np.ndarray]:
        """Motion [B,M] -> the moved crop, frame by frame: uint8 [side,side,3] in the picture's own pixels if `full`,
        else [size,size,3]. Nothing is drawn before the first frame is asked for."""


def load(
    name: Path,
    device: torch.device,
    stage1: Path | None = None,
    stage2: Path | None = None,
    hubert: Path | None = None,
) -> Model:
    """A model by registry name, weight file or folder, on a device.

    `original` has two stages, each a registry name or a file; where one is not given, a registered one that is here is
    taken, and a file of stage two may stand for the whole. hubert: a folder or hub name with the weights of HuBERT,
    for the variants that hear with it.
    """
    from anitalker import weights

    if str(name) != "original" and stage2 is None and weights.kind(name) == "original_stage2":
        name, stage2 = "original", name
    if str(name) == "original":
        from anitalker.original import Original

        return Original(*weights.load_original(stage1, stage2), device, hubert)
    for flag, value in (("stage1", stage1), ("stage2", stage2), ("hubert", hubert)):
        if value is not None:
            raise InputError(f"--{flag} came with --model {name}; it belongs to --model original")
    from anitalker.lite import Lite

    return Lite(weights.load_model(name), device)
