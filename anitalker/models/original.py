"""The family `original`: the published AniTalker networks behind `anitalker.models.base.Model`.

Letters: B frames at once, T video frames, M = 20 motion numbers, S = 512 width of a code, n = 256 pixels of a frame.

Stage one (encoder and decoder) reads a portrait once and draws frames; stage two (the denoiser) generates motion from
speech. Both are the published networks. Around them, this project finds the face, crops it as they expect and pastes it
back, and adds speech of any length, batches, and controls in the units of RenderOptions.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from anitalker.config import CROP, FPS, ORIGINAL_STEPS, InputError, RenderOptions
from anitalker.faces.crop import Crop, crop_face, seen_part
from anitalker.faces.detection import Face, FaceFinder, box_of
from anitalker.faces.landmarks import CHIN
from anitalker.faces.paste import Patch, feathered
from anitalker.models.base import FaceCheck, PersonTraits, ProgressCallback
from anitalker.motion.motion_files import read_pose
from anitalker.motion.occlusion import shut_eyes_warnings
from anitalker.motion.samplers import ddim_sample, ddim_schedule
from anitalker.original.denoiser import Denoiser
from anitalker.original.speech_features import SpeechFrontend, load_speech_frontend
from anitalker.original.stage_one import StageOne
from anitalker.original.styled_decoder import Constants, PreparedPortrait
from anitalker.runtime.device import bfloat16_is_faster, draws_in_bfloat16
from anitalker.runtime.smoothstep import smoothstep
from anitalker.runtime.transfer import to_pictures, to_tensor, to_tensors
from encoders import hubert

# Face height and centre in the pictures that the networks were trained on, as shares of the side: medians over the 13
# portraits of the original's demo, measured with our face network (face height .49 to .67, roll up to 10 degrees).
FACE_HEIGHT_IN_CROP = 0.587
FACE_CENTRE_IN_CROP = (0.5, 0.62)
# The original's angles against ours, compared on the angles that its authors published for a clip of 127 frames (from
# 3DDFA_V2): yaw agrees (r = .97), roll has the opposite sign (r = -.89), pitch agrees with an offset (r = .78).
ROLL_SIGN, PITCH_OFFSET_DEGREES = -1, 8.0
DEGREES_PER_UNIT = 90.0
NOSE_TIP, INNER_BROWS = (
    4,
    (107, 336),
)  # location is the x of the nose tip; scale goes from between the brows to the chin
# Option -> the control signal that it needs.
OPTION_SIGNALS = {
    "yaw": "pose",
    "pitch": "pose",
    "roll": "pose",
    "pose": "pose",
    "location": "location",
    "scale": "scale",
}
WINDOW_FRAMES = 30 * FPS  # that attend to each other; shorter clips are generated whole, as the original does always
OVERLAP_FRAMES = 2 * FPS  # that two windows share at least, and over which they are crossfaded


@dataclass(frozen=True)
class OriginalFace:
    """One face of a portrait, ready to move.

    draw: motion [B,M] -> frames [B,3,n,n], from `Original.frame_decoder`; signals: the portrait's own control signals,
    pose [3], location [1] and scale [1]; picture: uint8 [H,W,3], which holds the face.
    """

    crop: Crop
    image_code: Tensor  # [1,S]
    motion: Tensor  # [1,M]
    identity: Tensor  # [1,S]
    draw: Callable[[Tensor], Tensor]
    signals: dict[str, Tensor]
    picture: np.ndarray


class Original:
    """Stage one and stage two as a `Model`.

    hubert_source: folder or hub name of HuBERT's weights, for the variants that use it (None: the default).
    """

    family, steps, driving_filter = "original", ORIGINAL_STEPS, None  # the original does not filter codes
    prior = streaming = dubbing = None  # no prior of its codes; whole clips only; codes of whole faces only

    def __init__(
        self,
        stage_one: StageOne,
        denoiser: Denoiser,
        device: torch.device | str = "cpu",
        hubert_source: str | os.PathLike | None = None,
        fingerprint: str = "",
    ) -> None:
        self.fingerprint = fingerprint
        self.device, self.hubert_source = torch.device(device), hubert_source or hubert.NAME
        self.stage_one = stage_one.to(self.device).eval().requires_grad_(False)
        self.denoiser = denoiser.to(self.device).eval().requires_grad_(False)
        self.name, self.size = f"original-{denoiser.config.variant}", stage_one.config.size
        sizes = (stage_one.config.motion, stage_one.config.style)
        if (denoiser.config.motion, denoiser.config.start) != sizes:
            raise InputError(f"stage one and stage two do not belong together: codes of {sizes} numbers in stage one")

    @property
    def usual_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Any values of all numbers [M]: its codes do not tell pose from expression."""
        everything = np.full(self.stage_one.config.motion, np.inf, np.float32)
        return -everything, everything

    @property
    def number_format(self) -> str:
        """float32 or bfloat16: of the decoder's convolutions on this device, whichever is faster."""
        return "bfloat16" if draws_in_bfloat16(self.device, self.stage_one.config.channels[-1]) else "float32"

    @cached_property
    def constants(self) -> Constants:
        """The decoder's constant tensors, in its number format."""
        return self.stage_one.dec.constants(torch.bfloat16 if self.number_format == "bfloat16" else torch.float32)

    @cached_property
    def frontend(self) -> SpeechFrontend:
        """The variant's speech front end, loaded when it is first needed."""
        return load_speech_frontend(self.denoiser, self.hubert_source, self.device)

    def check(self, options: RenderOptions) -> None:
        """InputError for options that this family or variant does not support."""
        ddim_schedule(options.steps or self.steps)
        if options.guidance is not None:
            raise InputError(f"guidance is {options.guidance}, but the original has none; leave --guidance away")
        if options.also:
            raise InputError("--also needs a mouth that is drawn from references; the original has none, leave it away")
        for name in ("emotion", "expression", "timeline"):
            if getattr(options, name):
                raise InputError(f"--{name} needs directions of known meaning; the original has none, leave it away")
        if options.background.strip().lower() != "keep":
            raise InputError("--background needs a face that is warped; the original draws it anew, leave it away")
        if options.gaze not in ("natural", "portrait"):
            raise InputError(f"--gaze {options.gaze} needs eyes that are drawn; the original has none, leave it away")
        for name in ("lips", "head", "blink"):
            if getattr(options, name) != 1:
                raise InputError(f"--{name} needs directions of known meaning; the original has none, leave it at 1")
        known = self.denoiser.config.signals
        needed = {name: signal for name, signal in OPTION_SIGNALS.items() if getattr(options, name) is not None}
        needed |= {"still": "pose"} if options.still else {}
        for name, signal in needed.items():
            if signal not in known:
                obeys = ", ".join(known) or "nothing but speech"
                raise InputError(
                    f"--{name} needs the signal {signal}, but {self.denoiser.config.variant} obeys {obeys}; "
                    "take a full_control file as --stage2"
                )

    def check_face(self, face: Face, crop: Crop, finder: FaceFinder, subject: OriginalFace | None = None) -> FaceCheck:
        """Accepts every face: there is no prior of this family's codes."""
        return FaceCheck(occlusion_warnings=shut_eyes_warnings(face, finder))

    def crop(self, picture: np.ndarray, face: Face) -> Crop:
        """The square around a face, placed as in the pictures that the networks were trained on."""
        return crop_face(picture, face, FACE_HEIGHT_IN_CROP, FACE_CENTRE_IN_CROP)

    @torch.inference_mode()
    def prepare(
        self, picture: np.ndarray, crop: Crop, photos: Sequence[Crop] = (), traits: PersonTraits | None = None
    ) -> OriginalFace:
        """Compute what is computed once per face: codes, the decoder's features, control signals."""
        codes = self.stage_one.encode(resize_to_network(to_tensor(crop.image, self.device), self.size))
        prepared = self.stage_one.dec.prepare(self.constants, codes.image_code, codes.skips)
        draw, signals = self.frame_decoder(prepared), portrait_signals(crop)
        return OriginalFace(crop, codes.image_code, codes.motion_code, codes.identity, draw, signals, picture)

    def frame_decoder(self, prepared: PreparedPortrait) -> Callable[[Tensor], Tensor]:
        """The decoder of one portrait: motion [B,M] -> frames [B,3,n,n]."""
        return lambda motion: self.stage_one.dec.draw(self.constants, prepared, motion).pictures

    @torch.inference_mode()
    def read_codes(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [B,256,256,3] -> motion codes [B,M] and identity codes [B,S]."""
        batches = to_tensors(pictures.to(self.device)).split(4)  # larger batches are not faster
        codes = [self.stage_one.encode(resize_to_network(batch, self.size)) for batch in batches]
        return torch.cat([code.motion_code for code in codes]), torch.cat([code.identity for code in codes])

    def speech_features(self, samples: Tensor) -> Tensor:
        """Samples [N] at 16 kHz, as recorded -> features [1,rT,S], r per video frame, T = ceil(25 seconds)."""
        return self.frontend(samples)

    @torch.inference_mode()
    def generate_motion(
        self,
        features: Tensor,
        subject: OriginalFace,
        options: RenderOptions = RenderOptions(),
        seed: int = 0,
        progress: ProgressCallback | None = None,
    ) -> Tensor:
        """Features from `speech_features` -> motion [T,M], within -1..1.

        Clips longer than WINDOW_FRAMES are generated in windows. Each starts from the motion just before it, as the
        network was trained to start.
        """
        rate = self.denoiser.config.sound_rate
        frames = features.shape[1] // rate
        noise = torch.randn(1, frames, self.denoiser.config.motion, generator=torch.Generator().manual_seed(seed))
        signals = control_signals(subject.signals, options, frames)
        motion, use_bfloat16 = noise[:, :0].to(self.device), self.device.type == "cpu" and bfloat16_is_faster()
        for begin, end in split_windows(frames):
            start = motion[:, begin - 1] if begin else subject.motion
            controls = {name: signal[:, begin:end].to(self.device) for name, signal in signals.items()}
            speech = features[:, begin * rate : end * rate].to(self.device)
            code, use_controls = subject.image_code, bool(controls)
            condition = self.denoiser.condition(speech, code, start, controls, use_controls=use_controls)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=use_bfloat16):
                window = ddim_sample(
                    lambda x, time, condition=condition: self.denoiser(condition, x, time),
                    noise[:, begin:end].to(self.device),
                    options.steps or self.steps,
                )
            motion = crossfade(motion, window, begin)
            if progress:
                progress("motion", end, frames)
        return motion[0]

    @torch.inference_mode()
    def render_frames(self, subject: OriginalFace, motion: Tensor) -> Iterator[np.ndarray]:
        """Motion [B,M] -> frames uint8 [n,n,3]."""
        # Frame by frame on the CPU: one frame keeps all cores busy, and large batches do not fit its caches.
        for batch in motion.split(1 if motion.device.type == "cpu" else len(motion)):
            yield from to_pictures(subject.draw(batch))

    def cut_out(self, subject: OriginalFace, picture: np.ndarray) -> OriginalFace:
        """InputError: this family draws each frame anew, and nobody knows where its pixels went."""
        raise InputError("another background needs a face that is warped; take --model lite")

    def render_patches(self, subject: OriginalFace, motion: Tensor) -> Iterator[Patch]:
        """Motion [B,M] -> enlarged frames as patches of the picture."""
        crop = subject.crop
        for frame in self.render_frames(subject, motion):
            yield feathered(subject.picture, enlarge(frame, int(crop.side), *seen_part(crop)), crop)


def resize_to_network(pictures: Tensor, size: int) -> Tensor:
    """Resize crops [B,3,256,256] to the networks' size; the published networks take 256."""
    if size == CROP:
        return pictures
    return nn.functional.interpolate(pictures, (size, size), mode="bilinear", antialias=True)


def enlarge(frame: np.ndarray, side: int, rows: slice, columns: slice) -> np.ndarray:
    """Rows and columns of a frame uint8 [n,n,3] resized to [side,side,3], bicubic; no others are computed."""
    scale, size = len(frame) / side, (columns.stop - columns.start, rows.stop - rows.start)
    box = (columns.start * scale, rows.start * scale, columns.stop * scale, rows.stop * scale)
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC, box=box))


def portrait_signals(crop: Crop) -> dict[str, Tensor]:
    """The portrait's own control signals in the original's units: pose [3], location [1], scale [1]."""
    points = crop.landmarks
    face = Face(box_of(points), 1.0, points)
    between_brows = points[list(INNER_BROWS), :2].mean(0)
    pose = [face.yaw, face.pitch, face.roll]
    scale = float(np.linalg.norm(points[CHIN, :2] - between_brows))
    return {
        "location": torch.tensor([float(points[NOSE_TIP, 0])]),
        "scale": torch.tensor([scale]),
        "pose": to_original_units(torch.tensor(pose)),
    }


def to_original_units(angles: Tensor) -> Tensor:
    """Yaw, pitch, roll in our degrees [...,3] -> in the original's units, within -1..1."""
    yaw, pitch, roll = angles.float().unbind(-1)
    return (torch.stack([yaw, pitch + PITCH_OFFSET_DEGREES, ROLL_SIGN * roll], -1) / DEGREES_PER_UNIT).clamp(-1, 1)


def control_signals(portrait: dict[str, Tensor], options: RenderOptions, frames: int) -> dict[str, Tensor]:
    """The control signals [1,frames,1 or 3] that the options ask for; none if they ask for nothing.

    portrait: its own signals, from `portrait_signals`. The original has one switch for all signals, so signals that the
    options leave open keep the portrait's own value. Constants are reached from there within a second. A pose file is
    followed exactly, and its last row is kept for longer speech.
    """
    if not options.still and all(getattr(options, name) is None for name in OPTION_SIGNALS):
        return {}
    angles = to_original_units(torch.tensor([getattr(options, name) or 0.0 for name in ("yaw", "pitch", "roll")]))
    is_set = torch.tensor([getattr(options, name) is not None for name in ("yaw", "pitch", "roll")])
    targets = {
        "location": portrait["location"] + (options.location or 0.0),
        "scale": portrait["scale"] * (options.scale or 1.0),
        "pose": torch.where(is_set, angles, portrait["pose"]),
    }
    weight = smoothstep(torch.arange(frames) / FPS)[:, None]
    signals = {name: portrait[name] + weight * (target - portrait[name]) for name, target in targets.items()}
    if options.pose is not None:
        rows = to_original_units(torch.tensor(read_pose(options.pose)))
        signals["pose"] = rows[torch.arange(frames).clamp(max=len(rows) - 1)]
    return {name: signal[None].clamp(-1 if name == "pose" else 0, 1) for name, signal in signals.items()}


def split_windows(frames: int) -> list[tuple[int, int]]:
    """Beginnings and ends of the fewest windows of at most WINDOW_FRAMES, nearly equal in length.

    Neighbours share OVERLAP_FRAMES, so less than a tenth of a long clip is generated twice.
    """
    count = max(1, math.ceil((frames - OVERLAP_FRAMES) / (WINDOW_FRAMES - OVERLAP_FRAMES)))
    stride = (frames - OVERLAP_FRAMES) / count
    ends = [round((i + 1) * stride) + OVERLAP_FRAMES for i in range(count - 1)]
    return [(round(i * stride), end) for i, end in enumerate([*ends, frames])]


def crossfade(motion: Tensor, window: Tensor, begin: int) -> Tensor:
    """Append a window [1,w,M], which begins at frame `begin` <= t, to motion [1,t,M]; the shared frames are blended."""
    shared = motion.shape[1] - begin
    weight = smoothstep(torch.arange(1, shared + 1, device=motion.device) / (shared + 1))[:, None]
    mixed = motion[:, begin:] + weight * (window[:, :shared] - motion[:, begin:])
    return torch.cat([motion[:, :begin], mixed, window[:, shared:]], 1)
