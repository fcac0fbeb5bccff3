"""The family `lite`: our own small networks behind `anitalker.model.Model`.

Letters: B frames at once, T frames in all, M = 20 motion numbers, N = 468 landmarks, h x w pixels of the crop region.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from anitalker import driving, face, motion_files, sampling
from anitalker.compositor import Compositor
from anitalker.config import CROP, LITE_STEPS, RenderOptions
from anitalker.covers import ADVICE
from anitalker.decoder import Decoder, Layers, Prepared, Unet
from anitalker.directions import Groups, find_groups, temper
from anitalker.generator import MotionGenerator, Wishes, generate
from anitalker.graphs import graphed, launching
from anitalker.machine import draws_in_bfloat16
from anitalker.model import FaceCheck, Progress
from anitalker.motion_prior import MotionPrior, landmark_residual
from anitalker.motion_space import Codes, MotionSpace
from anitalker.transfer import to_tensor
from anitalker.warp import landmark_flow
from encoders.audio import level_gain


@dataclass(frozen=True)
class Networks:
    """One model, in float32 on the CPU, ready to be moved."""

    motion_space: MotionSpace
    decoder: Decoder
    generator: MotionGenerator
    speech: nn.Module
    name: str


@dataclass(frozen=True)
class Subject:
    """One face of a portrait, ready to move. compositor: frames in the picture's own pixels; unet: the decoder's, as a
    CUDA graph of this subject's frames, None where there are no such graphs."""

    crop: face.Crop
    codes: Codes
    landmarks: Tensor
    prepared: Prepared
    compositor: Compositor
    unet: Unet | None = None

    @property
    def motion(self) -> Tensor:
        """The portrait's own motion code [1,M]."""
        return self.codes.motion


class Lite:
    """Motion space, decoder, generator and speech features as a `Model`."""

    family, size, steps, calm = "lite", CROP, LITE_STEPS, driving.CALM

    def __init__(
        self,
        networks: Networks,
        device: torch.device | str = "cpu",
        load_prior: Callable[[], MotionPrior | None] = lambda: None,
        fingerprint: str = "",
    ) -> None:
        self.device, self.name, self.fingerprint = torch.device(device), networks.name, fingerprint
        self._load_prior = load_prior  # called when the prior is first needed
        self.space = networks.motion_space.to(self.device)
        self.decoder = networks.decoder.to(self.device)
        self.generator = networks.generator.to(self.device)
        self.speech = networks.speech.to(self.device)

    @cached_property
    def prior(self) -> MotionPrior | None:
        """How likely motion codes are; None where the shipped prior was trained on another motion space."""
        return self._load_prior()

    @property
    def streaming(self) -> Lite:
        """Itself: this family speaks while the speech arrives."""
        return self

    def check(self, options: RenderOptions) -> None:
        """Nothing that RenderOptions allow is refused."""

    @torch.inference_mode()
    def check_face(
        self, found: face.Face, crop: face.Crop, finder: face.FaceFinder, subject: Subject | None = None
    ) -> FaceCheck:
        """Whether the prior knows such faces; only what covers a face is told where the finder's scores say nothing."""
        if self.prior is None:
            return FaceCheck()
        codes = self.space(to_tensor(crop.image, self.device)) if subject is None else subject.codes
        motion, appearance = codes.motion.cpu(), codes.appearance.cpu()
        occlusions = tuple(ADVICE[part] for part in self.prior.covers.found(appearance))
        doubt = None
        if finder.calibrated:
            residual = landmark_residual(finder, crop)
            doubt = self.prior.doubt(self.prior.signs(motion, appearance, found.score, residual))
        return FaceCheck(occlusions=occlusions) if doubt is None else FaceCheck(*doubt, occlusions)

    def crop(self, picture: np.ndarray, found: face.Face) -> face.Crop:
        """The square around a face, placed as in the training data."""
        return face.crop(picture, found)

    @torch.inference_mode()
    def subject(self, picture: np.ndarray, crop: face.Crop) -> Subject:
        """Once per face: codes read from the crop's pixels, the decoder's view, native pixels."""
        image = to_tensor(crop.image, self.device)
        landmarks = torch.tensor(crop.landmarks, device=self.device)[None]
        codes = self.space(image)
        prepared = self.decoder.prepare(image, landmarks, codes.motion, codes.appearance)
        compositor = Compositor(to_tensor(face.native(picture, crop), self.device))
        unet = graphed(self.decoder._unet, self.device)
        return Subject(crop, codes, landmarks, prepared, compositor, unet)

    @torch.inference_mode()
    def read(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [B,256,256,3] -> motion codes [B,M] and identity codes [B,64] of unit length."""
        codes = self.space(pictures.to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1)
        return codes.motion, codes.identity

    @torch.inference_mode()
    def hear(self, samples: Tensor) -> Tensor:
        """Samples [N] at 16 kHz -> features [1,T,S], T = ceil(25 seconds)."""
        return self.speech(samples.to(self.device), level_gain(samples))[None]

    @torch.inference_mode()
    def move(
        self,
        sound: Tensor,
        subject: Subject,
        options: RenderOptions = RenderOptions(),
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Tensor:
        """Features of `hear` -> motion [T,M]; it begins with the portrait's own code. Too quick to tell progress."""
        rng = torch.Generator().manual_seed(seed)
        made = generate(self.generator, sound, subject.motion, rng, self.sampling_params(options))
        return self.scale_motion(made, subject.motion, options)

    @torch.inference_mode()
    def idle(self, subject: Subject, frames: int, options: RenderOptions, temperature: float, seed: int) -> Tensor:
        """Motion [T,M] without speech, drawn from the prior, which must be there."""
        rng = torch.Generator().manual_seed(seed)
        config = self.generator.config
        return sampling.idle_face(self.prior, subject.motion, frames, rng, temperature, self.groups, options, config)

    def sampling_params(self, options: RenderOptions) -> Wishes:
        """What of the options the motion generator obeys; what they leave open is the generator's own."""
        names = {field.name for field in fields(Wishes)} & {field.name for field in fields(RenderOptions)} - {"pose"}
        given = {name: value for name in names if (value := getattr(options, name)) is not None}
        pose = None if options.pose is None else torch.tensor(motion_files.read_pose(options.pose))
        return Wishes(**given, pose=pose)

    def scale_motion(self, motion: Tensor, start: Tensor, options: RenderOptions) -> Tensor:
        """Lips, head and lids of motion [T,M] as far from the portrait's code `start` [1,M] as the options say."""
        return temper(motion, start, self.groups, options)

    @cached_property
    def groups(self) -> Groups:
        """Which changes of the motion code move head, lips and lids."""
        return find_groups(self.space.directions, self.space.motion_std)

    @torch.inference_mode()
    def layers(self, subject: Subject, motion: Tensor) -> Layers:
        """Layers of one subject under motion [B,M]; the same for any B."""
        if motion.device.type != "cpu":
            with launching(motion.device):
                return self._layers(subject, motion)
        # In bfloat16 a processor's rounding depends on the batch, and its cores are busy with one frame: one by one.
        parts = [self._layers(subject, one) for one in motion.split(1)]
        if len(parts) == 1:
            return parts[0]
        return Layers(
            *(torch.cat([getattr(part, name) for part in parts]) for name in ("flow", "masks", "pixels", "marks"))
        )

    def _layers(self, subject: Subject, motion: Tensor) -> Layers:
        landmarks = subject.landmarks.expand(len(motion), -1, -1)
        targets = self.space.landmarks(landmarks, subject.motion.expand(len(motion), -1), motion)
        low = draws_in_bfloat16(motion.device, self.decoder.config.channels[0])
        flow = landmark_flow(landmarks, targets, self.decoder.config.grid, self.decoder.config.smoothing)
        with torch.autocast(motion.device.type, torch.bfloat16, enabled=low):
            return self.decoder.refine(subject.prepared, targets, motion, flow, subject.unet)

    def draw(self, subject: Subject, motion: Tensor, full: bool) -> Iterator[np.ndarray]:
        """Motion [B,M] -> the moved crop, uint8, [side,side,3] in the picture's pixels if `full`, else [256,256,3]."""
        compositor = subject.compositor if full else Compositor(subject.prepared.picture, sharpen=False)
        yield from compositor.frames(self.layers(subject, motion))
