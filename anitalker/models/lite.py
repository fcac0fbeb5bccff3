"""The family `lite`: our own small networks behind `anitalker.models.base.Model`.

Letters: B frames at once, T frames in all, M = 20 motion numbers, N = 468 landmarks, h x w pixels of the crop region.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from anitalker.config import CROP, LITE_STEPS, RenderOptions
from anitalker.decoder.compositor import Compositor
from anitalker.decoder.decoder import Decoder, Layers, Prepared, Unet
from anitalker.decoder.flow import landmark_flow
from anitalker.faces.crop import Crop, crop_face, crop_pixels
from anitalker.faces.detection import Face, FaceFinder
from anitalker.models.base import FaceCheck, Progress
from anitalker.motion import driving_video, idle, motion_files
from anitalker.motion.generator import MotionGenerator
from anitalker.motion.motion_space import Codes, MotionSpace
from anitalker.motion.occlusion import MESSAGES
from anitalker.motion.prior import MotionPrior, landmark_residual
from anitalker.motion.subspaces import MotionSubspaces, fit_subspaces, scale_motion
from anitalker.motion.windows import SamplingParams, generate_motion
from anitalker.runtime.cuda_graphs import as_cuda_graph, launch_lock
from anitalker.runtime.device import draws_in_bfloat16
from anitalker.runtime.transfer import to_tensor, to_tensors
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
class LiteFace:
    """One face of a portrait, ready to move. compositor: frames in the picture's own pixels; unet: the decoder's, as a
    CUDA graph of this subject's frames, None where there are no such graphs."""

    crop: Crop
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

    family, size, steps, driving_filter = "lite", CROP, LITE_STEPS, driving_video.DRIVING_FILTER

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
    def check_face(self, found: Face, crop: Crop, finder: FaceFinder, subject: LiteFace | None = None) -> FaceCheck:
        """Whether the prior knows such faces; only what covers a face is told where the finder's scores say nothing."""
        if self.prior is None:
            return FaceCheck()
        codes = self.space(to_tensor(crop.image, self.device)) if subject is None else subject.codes
        motion, appearance = codes.motion.cpu(), codes.appearance.cpu()
        occlusions = tuple(MESSAGES[part] for part in self.prior.covers.found(appearance))
        doubt = None
        if finder.calibrated:
            residual = landmark_residual(finder, crop)
            doubt = self.prior.doubt(self.prior.signs(motion, appearance, found.score, residual))
        return FaceCheck(occlusions=occlusions) if doubt is None else FaceCheck(*doubt, occlusions)

    def crop(self, picture: np.ndarray, found: Face) -> Crop:
        """The square around a face, placed as in the training data."""
        return crop_face(picture, found)

    @torch.inference_mode()
    def prepare(self, picture: np.ndarray, crop: Crop) -> LiteFace:
        """Once per face: codes read from the crop's pixels, the decoder's view, native pixels."""
        image = to_tensor(crop.image, self.device)
        landmarks = torch.tensor(crop.landmarks, device=self.device)[None]
        codes = self.space(image)
        prepared = self.decoder.prepare(image, landmarks, codes.motion, codes.appearance)
        compositor = Compositor(to_tensor(crop_pixels(picture, crop), self.device))
        unet = as_cuda_graph(self.decoder._unet, self.device)
        return LiteFace(crop, codes, landmarks, prepared, compositor, unet)

    @torch.inference_mode()
    def read_codes(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [B,256,256,3] -> motion codes [B,M] and identity codes [B,64] of unit length."""
        codes = self.space(to_tensors(pictures.to(self.device)))
        return codes.motion, codes.identity

    @torch.inference_mode()
    def speech_features(self, samples: Tensor) -> Tensor:
        """Samples [N] at 16 kHz -> features [1,T,S], T = ceil(25 seconds)."""
        return self.speech(samples.to(self.device), level_gain(samples))[None]

    @torch.inference_mode()
    def generate_motion(
        self,
        sound: Tensor,
        subject: LiteFace,
        options: RenderOptions = RenderOptions(),
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Tensor:
        """Speech features -> motion [T,M], which begins with the portrait's own code. Too quick to report progress."""
        rng = torch.Generator().manual_seed(seed)
        made = generate_motion(self.generator, sound, subject.motion, rng, self.sampling_params(options))
        return self.scale_motion(made, subject.motion, options)

    @torch.inference_mode()
    def idle(self, subject: LiteFace, frames: int, options: RenderOptions, temperature: float, seed: int) -> Tensor:
        """Motion [T,M] without speech, drawn from the prior, which must be there."""
        rng = torch.Generator().manual_seed(seed)
        config = self.generator.config
        return idle.idle_face(self.prior, subject.motion, frames, rng, temperature, self.groups, options, config)

    def sampling_params(self, options: RenderOptions) -> SamplingParams:
        """What of the options the motion generator obeys; what they leave open is the generator's own."""
        names = {field.name for field in fields(SamplingParams)} & {field.name for field in fields(RenderOptions)} - {
            "pose"
        }
        given = {name: value for name in names if (value := getattr(options, name)) is not None}
        pose = None if options.pose is None else torch.tensor(motion_files.read_pose(options.pose))
        return SamplingParams(**given, pose=pose)

    def scale_motion(self, motion: Tensor, start: Tensor, options: RenderOptions) -> Tensor:
        """Lips, head and lids of motion [T,M] as far from the portrait's code `start` [1,M] as the options say."""
        return scale_motion(motion, start, self.groups, options)

    @cached_property
    def groups(self) -> MotionSubspaces:
        """Which changes of the motion code move head, lips and lids."""
        return fit_subspaces(self.space.directions, self.space.motion_std)

    @torch.inference_mode()
    def layers(self, subject: LiteFace, motion: Tensor) -> Layers:
        """Layers of one subject under motion [B,M]; the same for any B."""
        if motion.device.type != "cpu":
            with launch_lock(motion.device):
                return self._layers(subject, motion)
        # In bfloat16 a processor's rounding depends on the batch, and its cores are busy with one frame: one by one.
        parts = [self._layers(subject, one) for one in motion.split(1)]
        if len(parts) == 1:
            return parts[0]
        return Layers(
            *(torch.cat([getattr(part, name) for part in parts]) for name in ("flow", "masks", "pixels", "marks"))
        )

    def _layers(self, subject: LiteFace, motion: Tensor) -> Layers:
        landmarks = subject.landmarks.expand(len(motion), -1, -1)
        targets = self.space.landmarks(landmarks, subject.motion.expand(len(motion), -1), motion)
        low = draws_in_bfloat16(motion.device, self.decoder.config.channels[0])
        flow = landmark_flow(landmarks, targets, self.decoder.config.grid, self.decoder.config.smoothing)
        with torch.autocast(motion.device.type, torch.bfloat16, enabled=low):
            return self.decoder.refine(subject.prepared, targets, motion, flow, subject.unet)

    def render_frames(self, subject: LiteFace, motion: Tensor, full: bool) -> Iterator[np.ndarray]:
        """Motion [B,M] -> the moved crop, uint8, [side,side,3] in the picture's pixels if `full`, else [256,256,3]."""
        compositor = subject.compositor if full else Compositor(subject.prepared.picture, sharpen=False)
        yield from compositor.frames(self.layers(subject, motion))
