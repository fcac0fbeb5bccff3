"""What every family of models gives the pipeline: protocols, no implementation.

Letters: B frames at once, T video frames, M motion numbers, N samples of sound.

`lite` is our own small model, `original` the published AniTalker networks. The pipeline knows neither.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from anitalker.config import RenderOptions
from anitalker.faces.crop import Crop
from anitalker.faces.detection import Face, FaceFinder

if TYPE_CHECKING:
    from anitalker.motion.generator import MotionGenerator
    from anitalker.motion.prior import MotionPrior
    from anitalker.motion.windows import SamplingParams
    from encoders.speech import SpeechFeatures

Path = str | os.PathLike
Progress = Callable[[str, int, int], None]  # stage, done, total


class PreparedFace(Protocol):
    """One face of a portrait, ready to move; what else it holds is the family's own business."""

    @property
    def crop(self) -> Crop:
        """Where the face stands in the picture."""

    @property
    def motion(self) -> Tensor:
        """The portrait's own motion code [1,M]."""


@dataclass(frozen=True)
class FaceCheck:
    """What a model says of a face before it moves it.

    refused: the face cannot be animated; doubt: why, or why it may not move well, None for a usual face; occlusions: a
    sentence for each part of the face that something covers.
    """

    refused: bool = False
    doubt: str | None = None
    occlusions: tuple[str, ...] = ()


class StreamingModel(Protocol):
    """What a model offers a stream, where it can speak while the speech arrives."""

    speech: SpeechFeatures
    generator: MotionGenerator

    def sampling_params(self, options: RenderOptions) -> SamplingParams:
        """What of the options the motion generator obeys."""

    def scale_motion(self, motion: Tensor, start: Tensor, options: RenderOptions) -> Tensor:
        """Motion [T,M] with its distance from the portrait's code `start` [1,M] scaled as the options say."""


class Model(Protocol):
    """A loaded model on a device. Every method is free of state: same arguments, same result."""

    family: str  # lite or original
    name: str  # for people
    fingerprint: str  # SHA-256 of its weights, for credentials; of two files joined by a plus
    device: torch.device
    size: int  # side of a face-crop frame in pixels
    steps: int  # sampler steps where none are asked for
    driving_filter: dict[str, float] | None  # One-Euro filter over the codes of a driving video; None: as they are read

    @property
    def prior(self) -> MotionPrior | None:
        """How likely its motion codes are; None where nothing is known of them."""

    @property
    def streaming(self) -> StreamingModel | None:
        """The model as a stream uses it; None where it makes whole clips only."""

    def check(self, options: RenderOptions) -> None:
        """InputError for options that this model cannot serve, with what to do."""

    def check_face(self, face: Face, crop: Crop, finder: FaceFinder, subject: PreparedFace | None = None) -> FaceCheck:
        """Whether the face in a crop can be animated; subject: what `prepare` made of the crop, if it has been."""

    def crop(self, picture: np.ndarray, face: Face) -> Crop:
        """The square of a picture, uint8 [H,W,3], that this model wants to see."""

    def prepare(self, picture: np.ndarray, crop: Crop) -> PreparedFace:
        """Everything that is done once per face."""

    def read_codes(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Crops uint8 [B,256,256,3] -> motion codes [B,M] and identity codes [B,D]."""

    def speech_features(self, samples: Tensor) -> Tensor:
        """Sound [N] at 16 kHz in -1..1, as recorded -> features [1,rT,S], r per video frame, T = ceil(25 seconds)."""

    def generate_motion(
        self, sound: Tensor, subject: PreparedFace, options: RenderOptions, seed: int, progress: Progress | None = None
    ) -> Tensor:
        """Features of `speech_features` -> motion [T,M]; the same for the same seed."""

    def render_frames(self, subject: PreparedFace, motion: Tensor, full: bool) -> Iterator[np.ndarray]:
        """Motion [B,M] -> the moved crop, frame by frame: uint8 [side,side,3] in the picture's own pixels if `full`,
        else [size,size,3]. Nothing is drawn before the first frame is asked for."""
