"""Protocols that every model family implements; no implementation here.

Letters: B frames at once, T video frames, M motion numbers, S speech features, D width of an identity code, N samples
of sound.

`lite` is our own small model, `original` the published AniTalker networks. The pipeline depends on the protocols only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from anitalker.config import RenderOptions
from anitalker.faces.crop import Crop
from anitalker.faces.detection import Face, FaceFinder
from anitalker.faces.paste import Patch

if TYPE_CHECKING:
    from anitalker.decoder.mouth import MouthSynthesizer
    from anitalker.motion.generator import MotionGenerator
    from anitalker.motion.manner import Manner
    from anitalker.motion.motion_space import MotionSpace
    from anitalker.motion.prior import MotionPrior
    from anitalker.motion.subspaces import MotionSubspaces
    from anitalker.motion.windows import SamplingParams
    from encoders.speech import SpeechFeatures

PathLike = str | os.PathLike
ProgressCallback = Callable[[str, int, int], None]  # stage, done, total


class PreparedFace(Protocol):
    """One face of a portrait, ready to move; each family adds its own attributes."""

    @property
    def crop(self) -> Crop:
        """The crop around the face, with its place in the picture."""
        ...

    @property
    def motion(self) -> Tensor:
        """The portrait's own motion code [1,M]."""
        ...


FaceT = TypeVar("FaceT", bound=PreparedFace)


@dataclass(frozen=True)
class FaceCheck:
    """Whether a face can be animated.

    rejected: it cannot; reason: why it cannot, or why it may not move well, None for a usual face; occlusion_warnings:
    a sentence for each part of the face that something hides, and one if the eyes are shut.
    """

    rejected: bool = False
    reason: str | None = None
    occlusion_warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PersonTraits:
    """What a person file tells of somebody beside the portrait.

    patches uint8 [K,P,P,3], landmarks [K,N,3] in crop widths and motion [K,M]: references of the mouth; neutral [N,3]:
    the face at rest, in face heights; manner: how the person moves; mouth: changes of the mouth synthesiser's weights
    by key; lips: weight and bias of the lip regressor's last layer; both may be empty.
    """

    patches: Tensor
    landmarks: Tensor
    motion: Tensor
    neutral: Tensor
    manner: Manner
    mouth: Mapping[str, Tensor] = field(default_factory=dict)
    lips: Mapping[str, Tensor] = field(default_factory=dict)


class StreamingModel(Protocol):
    """What streaming needs of a model that can generate motion while the speech arrives."""

    speech: SpeechFeatures
    generator: MotionGenerator

    def generator_of(self, face: PreparedFace) -> MotionGenerator:
        """The motion generator, as it is for the person of a face."""
        ...

    def sampling_params(self, options: RenderOptions, face: PreparedFace | None = None) -> SamplingParams:
        """The parameters of the motion generator that the options, and the face's own manner, ask for."""
        ...

    def scale_motion(
        self, motion: Tensor, start: Tensor, options: RenderOptions, face: PreparedFace | None = None
    ) -> Tensor:
        """Motion [T,M] with its difference to the portrait's code `start` [1,M] scaled by options.lips, head, blink,
        and by the manner of the face's person."""
        ...


class DubbingModel(StreamingModel, Protocol):
    """What dubbing needs of a model: every filmed frame is its own portrait."""

    device: torch.device
    space: MotionSpace
    mouth: MouthSynthesizer | None

    @property
    def subspaces(self) -> MotionSubspaces:
        """The subspaces of the motion code that move head, lips and lids."""
        ...

    def read_mouths(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Crops uint8 [B,256,256,3] -> motion codes [B,M] and whether something covers the mouth, bool [B]."""
        ...

    def speech_features(self, samples: Tensor) -> Tensor:
        """As `Model.speech_features`."""
        ...

    def speak(self, features: Tensor, start: Tensor, options: RenderOptions, seed: int) -> Tensor:
        """Features from `speech_features` -> motion [T,M] that begins with the code `start` [1,M], not scaled."""
        ...


class Model(Protocol[FaceT]):
    """A loaded model on a device. Methods keep no state: the same arguments give the same result.

    FaceT: the family's own PreparedFace.
    """

    family: str  # lite or original
    name: str  # for display
    fingerprint: str  # SHA-256 of its weights, for credentials; two files' are joined by a plus
    device: torch.device
    size: int  # side of a face-crop frame in pixels
    steps: int  # default number of sampler steps

    @property
    def number_format(self) -> str:
        """float32 or bfloat16: of the decoder's convolutions on this device."""
        ...

    @property
    def driving_filter(self) -> dict[str, float] | None:
        """Settings of the One-Euro filter for motion codes of a driving video; None: no filter."""
        ...

    @property
    def usual_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and highest usual values, [P] each, of the leading numbers, which are relative to the portrait.

        lite: the pose; original: all numbers, since its codes do not tell pose from expression. Infinite: any value.
        """
        ...

    @property
    def prior(self) -> MotionPrior | None:
        """The probability model of its motion codes; None where there is none."""
        ...

    @property
    def streaming(self) -> StreamingModel | None:
        """The model as streaming uses it; None where it generates whole clips only."""
        ...

    @property
    def dubbing(self) -> DubbingModel | None:
        """The model as dubbing uses it; None where it cannot move the lips of a filmed face alone."""
        ...

    def check(self, options: RenderOptions) -> None:
        """InputError for options that this model does not support."""
        ...

    def check_face(self, face: Face, crop: Crop, finder: FaceFinder, subject: FaceT | None = None) -> FaceCheck:
        """Whether the face in a crop can be animated; subject: the result of `prepare`, where it is known already."""
        ...

    def crop(self, picture: np.ndarray, face: Face) -> Crop:
        """The square crop of a picture, uint8 [H,W,3], that this model expects."""
        ...

    def prepare(
        self, picture: np.ndarray, crop: Crop, photos: Sequence[Crop] = (), traits: PersonTraits | None = None
    ) -> FaceT:
        """Compute what is computed once per face; photos: crops of more pictures of the same person; traits: of a
        person file that was made for this model."""
        ...

    def cut_out(self, subject: FaceT, picture: np.ndarray) -> FaceT:
        """The same face in a picture with alpha, uint8 [H,W,4], which moves with it: patches have alpha, too.

        InputError where the family does not know where each pixel goes."""
        ...

    def read_codes(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Crops uint8 [B,256,256,3] -> motion codes [B,M] and identity codes [B,D]."""
        ...

    def speech_features(self, samples: Tensor) -> Tensor:
        """Sound [N] at 16 kHz in -1..1, as recorded -> features [1,rT,S], r per video frame, T = ceil(25 seconds)."""
        ...

    def generate_motion(
        self,
        features: Tensor,
        subject: FaceT,
        options: RenderOptions,
        seed: int,
        progress: ProgressCallback | None = None,
    ) -> Tensor:
        """Features from `speech_features` -> motion [T,M]; the same for the same seed.

        GAZE_SIZE numbers of gaze follow each code where the model has eyes that look (`motion.gaze`) and the options
        do not keep the portrait's.
        """
        ...

    def render_frames(self, subject: FaceT, motion: Tensor) -> Iterator[np.ndarray]:
        """Motion [B,M] -> frames of the moved crop, uint8 [size,size,3], drawn on demand."""
        ...

    def render_patches(self, subject: FaceT, motion: Tensor) -> Iterator[Patch]:
        """Motion [B,M] -> what replaces the picture's own pixels in each frame, drawn on demand."""
        ...
