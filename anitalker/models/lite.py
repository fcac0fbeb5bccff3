"""The family `lite`: our own small networks behind `anitalker.models.base.Model`.

Letters: B frames at once, T video frames, M = 20 motion numbers, S speech features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import cast

import numpy as np
import torch
from torch import Tensor

from anitalker.config import CROP, LITE_STEPS, POSE_SIZE, RenderOptions
from anitalker.decoder.composition import compose
from anitalker.decoder.compositor import Compositor
from anitalker.decoder.decoder import Layers
from anitalker.decoder.eyeballs import EyeGeometry, look
from anitalker.decoder.flow import landmark_flow
from anitalker.decoder.iris import IrisNetwork
from anitalker.decoder.iris_shift import Irises
from anitalker.decoder.mouth_adapters import with_changes
from anitalker.decoder.mouth_layer import PreparedMouth, draw_mouth, prepare_mouth
from anitalker.decoder.mouth_patch import cut_patch, place_patch
from anitalker.faces.crop import Crop, crop_face
from anitalker.faces.detection import Face, FaceFinder
from anitalker.faces.paste import Patch, crop_place
from anitalker.models.base import FaceCheck, PersonTraits, PreparedFace, ProgressCallback
from anitalker.models.lite_face import IRISES_UNSEEN, LiteFace, Networks, find_eyes
from anitalker.motion import driving_video, idle
from anitalker.motion.emphasis import Emphasis
from anitalker.motion.expressions import Expressions
from anitalker.motion.gaze import GazeCourse, idle_gaze, with_timeline
from anitalker.motion.generator import MotionGenerator
from anitalker.motion.manner import USUAL, Manner, with_lip_layer
from anitalker.motion.motion_space import Codes
from anitalker.motion.occlusion import MESSAGES, PARTS, shut_eyes_warnings
from anitalker.motion.prior import MotionPrior, landmark_residual
from anitalker.motion.subspaces import MotionSubspaces, fit_subspaces, scale_motion
from anitalker.motion.windows import SamplingParams, generate_motion
from anitalker.runtime.device import draws_in_bfloat16
from anitalker.runtime.transfer import to_pictures, to_tensor, to_tensors
from encoders.audio import level_gain
from encoders.speech import SpeechFeatures


class Lite:
    """Motion space, decoder, generator and speech features as a `Model`.

    load_prior and load_iris are called when the prior and the iris locator are first needed.
    """

    family, size, steps, driving_filter = "lite", CROP, LITE_STEPS, driving_video.DRIVING_FILTER

    def __init__(
        self,
        networks: Networks,
        device: torch.device | str = "cpu",
        load_prior: Callable[[], MotionPrior | None] = lambda: None,
        fingerprint: str = "",
        load_iris: Callable[[], IrisNetwork | None] = lambda: None,
    ) -> None:
        self.device, self.name, self.fingerprint = torch.device(device), networks.name, fingerprint
        self._load_prior, self._load_iris = load_prior, load_iris
        self.space = networks.motion_space.to(self.device)
        self.decoder = networks.decoder.to(self.device)
        self.generator = networks.generator.to(self.device)
        self.speech = networks.speech.to(self.device)
        self.mouth = None if networks.mouth is None else networks.mouth.to(self.device)

    @property
    def number_format(self) -> str:
        """float32 or bfloat16: of the decoder's convolutions on this device."""
        return "bfloat16" if draws_in_bfloat16(self.device, self.decoder.config.channels[0]) else "float32"

    @cached_property
    def prior(self) -> MotionPrior | None:
        """The prior of motion codes; None where the shipped one was trained on another motion space."""
        return self._load_prior()

    @cached_property
    def iris(self) -> IrisNetwork | None:
        """Finds a portrait's irises; None where it is not there, and no eyes can look elsewhere."""
        network = self._load_iris()
        return None if network is None else network.to(self.device)

    @property
    def usual_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Yaw, pitch and roll within a standard deviation of the training clips' mean; any place and size."""
        mean, spread = (self.space.get_buffer(f"motion_{name}")[:3].cpu().numpy() for name in ("mean", "std"))
        any_place = np.full(POSE_SIZE - 3, np.inf, np.float32)
        return np.concatenate([mean - spread, -any_place]), np.concatenate([mean + spread, any_place])

    @property
    def streaming(self) -> Lite:
        """Itself: this family can generate motion while the speech arrives."""
        return self

    @property
    def dubbing(self) -> Lite:
        """Itself: this family moves the lips of a filmed face alone."""
        return self

    def check(self, options: RenderOptions) -> None:
        """Accepts everything that RenderOptions allow."""

    @torch.inference_mode()
    def check_face(self, face: Face, crop: Crop, finder: FaceFinder, subject: LiteFace | None = None) -> FaceCheck:
        """Rejects faces that the prior finds implausible (if the finder's scores are calibrated); notes occlusions."""
        shut_eyes, image = shut_eyes_warnings(face, finder), to_tensor(crop.image, self.device)
        codes = self.space(image) if subject is None else subject.codes
        motion, appearance = codes.motion.cpu(), codes.appearance.cpu()
        occluded = () if self.prior is None else tuple(self.prior.covers.occluded_parts(appearance))
        occlusion_warnings = tuple(MESSAGES[name] for name in occluded) + shut_eyes
        landmarks = torch.tensor(crop.landmarks, device=self.device)[None]
        if finder.calibrated and self.iris is not None and not shut_eyes and "eyes" not in occluded:
            seen = self._eyes(image, landmarks, codes) if subject is None else subject.eyes
            occlusion_warnings += (IRISES_UNSEEN,) if seen is None else ()
        if self.prior is None:
            return FaceCheck(occlusion_warnings=occlusion_warnings)
        rejection = None
        if finder.calibrated:
            residual = landmark_residual(finder, crop)
            scores = self.prior.plausibility_scores(motion, appearance, face.score, residual)
            rejection = self.prior.rejection(scores)
        if rejection is None:
            return FaceCheck(occlusion_warnings=occlusion_warnings)
        rejected, reason = rejection
        return FaceCheck(rejected, reason, occlusion_warnings)

    def crop(self, picture: np.ndarray, face: Face) -> Crop:
        """The square around a face, placed as in the training data."""
        return crop_face(picture, face)

    @torch.inference_mode()
    def prepare(
        self, picture: np.ndarray, crop: Crop, photos: Sequence[Crop] = (), traits: PersonTraits | None = None
    ) -> LiteFace:
        """Compute what is computed once per face: codes, the decoder's features, the crop in the picture's pixels.

        photos: more pictures of the person, which show what the mouth looks like, and what the face is at rest; traits:
        of a person file, which settle the same and the person's manner.
        """
        image = to_tensor(crop.image, self.device)
        landmarks = torch.tensor(crop.landmarks, device=self.device)[None]
        codes = self.space(image)
        references = (image, landmarks, codes.motion)
        if photos:
            codes, references = self._with_photos(codes, references, photos)
        mouths = (cut_patch(references[0], place_patch(references[1])), *references[1:])
        synthesizer, generator, manner = self.mouth, None, USUAL
        if traits is not None:
            neutral, manner = traits.neutral.to(landmarks)[None], traits.manner
            codes = replace(codes, motion=self.space.beyond(neutral, landmarks, codes.motion))
            kept = (to_tensors(traits.patches.to(self.device)), traits.landmarks, traits.motion)
            mouths = tuple(torch.cat([shown, other.to(shown)]) for shown, other in zip(mouths, kept, strict=True))
            if synthesizer is not None and traits.mouth:
                synthesizer = with_changes(synthesizer, traits.mouth)
            if traits.lips:
                generator = with_lip_layer(self.generator, **traits.lips)
        prepared = self.decoder.prepare(image, landmarks, codes.motion, codes.appearance, teeth=self.mouth is None)
        mouth = None
        if synthesizer is not None:
            mouth = PreparedMouth(image, landmarks, synthesizer.encode(*(values[None] for values in mouths)))
        compositor = Compositor.of_crop(picture, crop, self.device)
        resting = self.space.rest(landmarks, codes.motion)
        faces = (crop, codes, landmarks, prepared, compositor, resting, mouth)
        return LiteFace(*faces, synthesizer, generator, manner, self._eyes(image, landmarks, codes))

    def _eyes(self, image: Tensor, landmarks: Tensor, codes: Codes) -> EyeGeometry | None:
        """The eyes of a crop [1,3,256,256], if nothing hides them."""
        hidden = bool(self._covered(codes.appearance, "eyes"))
        return None if hidden else find_eyes(self.iris, image, landmarks, codes.motion[:, :POSE_SIZE])

    def cut_out(self, subject: LiteFace, picture: np.ndarray) -> LiteFace:
        """The same face in a picture with alpha, uint8 [H,W,4], which moves with it."""
        return replace(subject, compositor=Compositor.of_crop(picture, subject.crop, self.device))

    def _with_photos(
        self, codes: Codes, own: tuple[Tensor, Tensor, Tensor], photos: Sequence[Crop]
    ) -> tuple[Codes, tuple[Tensor, ...]]:
        """The portrait's codes, and pictures [K,3,256,256], landmarks [K,N,3] and motion [K,M] of all mouths that are
        not covered, the portrait's `own` first."""
        pictures = torch.cat([to_tensor(photo.image, self.device) for photo in photos])
        landmarks = torch.tensor(np.stack([photo.landmarks for photo in photos]), device=self.device)
        read = self.space(pictures)
        free = ~self._covered(read.appearance).to(self.device)
        others = (pictures[free], landmarks[free], read.motion[free])
        references = tuple(torch.cat(pair) for pair in zip(own, others, strict=True))
        return replace(codes, motion=self.space.settle(*references[1:])), references

    def _covered(self, appearance: Tensor, part: str = "mouth") -> Tensor:
        """Whether something covers a part of the face, by appearance codes [B,D]: bool [B]."""
        if self.prior is None:
            return torch.zeros(len(appearance), dtype=torch.bool)
        covers = self.prior.covers
        return (covers(appearance.cpu()) > covers.limits)[:, PARTS.index(part)]

    @torch.inference_mode()
    def prepare_mouth(self, image: Tensor, landmarks: Tensor, motion: Tensor) -> PreparedMouth | None:
        """The mouth of a crop [1,3,256,256] with landmarks [1,N,3] and motion [1,M]; None without a synthesiser."""
        return None if self.mouth is None else prepare_mouth(self.mouth, image, landmarks, motion)

    @torch.inference_mode()
    def read_codes(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [B,256,256,3] -> motion codes [B,M] and identity codes [B,64] of unit length."""
        codes = self.space(to_tensors(pictures.to(self.device)))
        return codes.motion, codes.identity

    @torch.inference_mode()
    def read_mouths(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [B,256,256,3] -> motion codes [B,M] and whether something covers the mouth, bool [B]."""
        codes = self.space(to_tensors(pictures.to(self.device)))
        return codes.motion, self._covered(codes.appearance)

    @torch.inference_mode()
    def speech_features(self, samples: Tensor) -> Tensor:
        """Samples [N] at 16 kHz -> features [1,T,S], T = ceil(25 seconds)."""
        return self.speech(samples.to(self.device), level_gain(samples))[None]

    @torch.inference_mode()
    def generate_motion(
        self,
        features: Tensor,
        subject: LiteFace,
        options: RenderOptions = RenderOptions(),
        seed: int = 0,
        progress: ProgressCallback | None = None,
    ) -> Tensor:
        """Speech features [1,T,S] -> motion [T,M], which begins with the portrait's own code.

        progress is not called: this takes too little time.
        """
        rng, params = torch.Generator().manual_seed(seed), self.sampling_params(options, subject)
        motion = generate_motion(self.generator_of(subject), features, subject.motion, rng, params)
        return self.scale_motion(motion, subject.motion, options, subject)

    @torch.inference_mode()
    def speak(
        self, features: Tensor, start: Tensor, options: RenderOptions, seed: int, face: PreparedFace | None = None
    ) -> Tensor:
        """Speech features [1,T,S] -> motion [T,M] that begins with the code `start` [1,M]; nothing is scaled.

        face: whose generator and manner count.
        """
        rng, params = torch.Generator().manual_seed(seed), replace(self.sampling_params(options, face), gaze=None)
        return generate_motion(self.generator_of(face), features, start, rng, params)

    def generator_of(self, face: PreparedFace | None) -> MotionGenerator:
        """The motion generator, as it is for the person of a face."""
        adapted = face.generator if isinstance(face, LiteFace) else None
        return self.generator if adapted is None else adapted

    @torch.inference_mode()
    def idle(
        self, face: LiteFace, frames: int, options: RenderOptions, temperature: float, seed: int, loop: bool = False
    ) -> Tensor:
        """Motion [T,M] without speech, sampled from the prior, which the model must have. See `idle.idle_portrait`."""
        assert self.prior is not None, "this model has no prior"
        rng = torch.Generator().manual_seed(seed)
        config, options = self.generator.config, face.manner.options(options)
        sampled = idle.idle_portrait(
            self.prior, face.motion, frames, rng, temperature, self.subspaces, options, config, loop
        )
        sampled = self.expressions.express(sampled, face.motion, options, self.subspaces.eyes)
        gaze = with_timeline(idle_gaze(options, frames, seed, loop).to(sampled), options, frames)
        return torch.cat([sampled, gaze], 1)

    def sampling_params(self, options: RenderOptions, face: PreparedFace | None = None) -> SamplingParams:
        """The parameters of the motion generator that the options ask for, with this family's defaults."""
        params, speech = SamplingParams.from_options(options, _manner_of(face)), cast(SpeechFeatures, self.speech)
        brows = self.expressions.change({"brow_raise": 1.0})
        mels = speech.per_frame * speech.n_mels
        emphasis = partial(Emphasis, brows=brows, mels=mels, hops=speech.per_frame)
        gaze = None if options.gaze == "portrait" else partial(GazeCourse, options, mels)
        return replace(params, emphasis=emphasis, gaze=gaze)

    def scale_motion(
        self, motion: Tensor, start: Tensor, options: RenderOptions, face: PreparedFace | None = None
    ) -> Tensor:
        """Motion [T,M] with its difference to the portrait's code `start` [1,M] scaled by options.lips, head, blink,
        and by the manner of the face's person; what follows the codes stays."""
        size = self.space.config.motion_size
        codes, gaze, start = motion[:, :size], motion[:, size:], start[:, :size]
        scaled = scale_motion(codes, start, self.subspaces, _manner_of(face).options(options))
        scaled = self.expressions.express(scaled, start, options, self.subspaces.eyes)
        return torch.cat([scaled, with_timeline(gaze, options, len(motion))], 1)

    @cached_property
    def expressions(self) -> Expressions:
        """The named expressions of its motion space."""
        return Expressions(self.space)

    @cached_property
    def subspaces(self) -> MotionSubspaces:
        """The subspaces of the motion code that move head, lips and lids."""
        return fit_subspaces(self.space.directions, self.space.motion_std)

    @torch.inference_mode()
    def layers(self, subject: LiteFace, motion: Tensor) -> Layers:
        """The decoder's layers for one face in motion [B,M]. Results do not depend on B."""
        if motion.device.type != "cpu":
            return self._layers(subject, motion)
        # Frame by frame on the CPU: bfloat16 rounding there depends on the batch, and one frame keeps all cores busy.
        return Layers.join([self._layers(subject, frame_motion) for frame_motion in motion.split(1)])

    def _layers(self, subject: LiteFace, motion: Tensor) -> Layers:
        motion, gaze = motion.split([size := subject.motion.shape[1], motion.shape[1] - size], 1)
        targets, irises = self.space.move(subject.resting, motion), None
        if gaze.shape[1] and subject.eyes is not None:
            targets, irises = look(subject.eyes, subject.landmarks, targets, motion[:, :POSE_SIZE], gaze)
        return self.layers_to(subject, targets, motion, irises)

    @torch.inference_mode()
    def layers_to(self, subject: LiteFace, targets: Tensor, motion: Tensor, irises: Irises | None = None) -> Layers:
        """The decoder's layers for one face brought to landmarks [B,N,3] and irises that show motion [B,M]."""
        landmarks, config = subject.landmarks.expand(len(motion), -1, -1), self.decoder.config
        use_bfloat16 = draws_in_bfloat16(motion.device, config.channels[0])
        flow = landmark_flow(landmarks, targets, config.grid, config.smoothing)
        with torch.autocast(motion.device.type, torch.bfloat16, enabled=use_bfloat16):
            layers = self.decoder.refine(subject.prepared, targets, motion, flow, irises)
            synthesizer = subject.synthesizer or self.mouth
            if synthesizer is None or subject.mouth is None:
                return layers
            return replace(layers, mouth=draw_mouth(synthesizer, subject.mouth, targets, motion, flow))

    @torch.inference_mode()
    def render_frames(self, subject: LiteFace, motion: Tensor) -> Iterator[np.ndarray]:
        """Motion [B,M] -> frames uint8 [256,256,3]."""
        yield from to_pictures(compose(subject.prepared.picture, self.layers(subject, motion)))

    def render_patches(self, subject: LiteFace, motion: Tensor) -> Iterator[Patch]:
        """Motion [B,M] -> the pixels of the picture that change."""
        rows, columns = crop_place(subject.crop)
        for patch in subject.compositor.frames(self.layers(subject, motion)):
            yield Patch(rows.start + patch.top, columns.start + patch.left, patch.pixels)


def _manner_of(face: PreparedFace | None) -> Manner:
    return face.manner if isinstance(face, LiteFace) else USUAL
