"""The family `original`: the published AniTalker networks behind `anitalker.models.base.Model`.

Letters: B frames at once, T video frames, M = 20 motion numbers, S = 512 width of a code, n = 256 pixels of a frame.

Stage one (encoder and decoder) reads a portrait once and draws frames, stage two (the denoiser) makes motion of speech.
Both are the published ones; what is ours is around them: the face is found and cropped as they expect and pasted back,
any length of sound, batches, and controls in the units of RenderOptions.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from anitalker.config import CROP, FPS, ORIGINAL_STEPS, InputError, RenderOptions
from anitalker.faces.crop import Crop, crop_face
from anitalker.faces.detection import Face, FaceFinder, box_of
from anitalker.faces.landmarks import CHIN
from anitalker.models.base import FaceCheck, Progress
from anitalker.motion.motion_files import read_pose
from anitalker.motion.samplers import ddim_sample, ddim_schedule
from anitalker.original.denoiser import Denoiser
from anitalker.original.speech_features import SpeechFrontend, load_speech_frontend
from anitalker.original.stage_one import StageOne
from anitalker.original.styled_decoder import Constants, Ready
from anitalker.runtime.cuda_graphs import as_cuda_graph
from anitalker.runtime.device import draws_in_bfloat16
from anitalker.runtime.matmul import bfloat16_is_faster
from anitalker.runtime.smoothstep import smoothstep
from anitalker.runtime.transfer import to_host, to_tensor, to_tensors
from encoders import hubert

# Where a face stands in the pictures that the networks know: medians over the 13 portraits of the original's demo,
# measured with our face network (face height .49 to .67 of the side, roll as it came, up to 10 degrees).
FACE_IN_CROP = 0.587
MIDDLE_IN_CROP = (0.5, 0.62)
# How its angles lie to ours: compared with angles that its authors published for a clip of 127 frames (made with
# 3DDFA_V2). Yaw follows ours (r = .97), roll runs the other way (r = -.89), pitch follows (r = .78) with an offset.
ROLL, PITCH = -1, 8.0
TURN = 90.0  # degrees of one unit
NOSE_TIP, INNER_BROWS = 4, (107, 336)  # its location is the nose's x; its scale goes from between the brows to the chin
CONTROLS = {"yaw": "pose", "pitch": "pose", "roll": "pose", "pose": "pose", "location": "location", "scale": "scale"}
WINDOW = 30 * FPS  # frames that attend to each other; shorter clips are made whole, as the original makes all
OVERLAP = 2 * FPS  # frames that two windows share at least, and over which one fades into the next


@dataclass(frozen=True)
class OriginalFace:
    """One face of a portrait, ready to move. pictures: motion [B,M] -> frames [B,3,n,n], made by `Original.drawing`;
    own: its control signals, pose [3], location [1] and scale [1]."""

    crop: Crop
    image_code: Tensor  # [1,S]
    motion: Tensor  # [1,M]
    identity: Tensor  # [1,S]
    pictures: Callable[[Tensor], Tensor]
    own: dict[str, Tensor]


class Original:
    """Stage one and stage two as a `Model`; source: of HuBERT's weights, used by the variants that hear with it."""

    family, steps, driving_filter = "original", ORIGINAL_STEPS, None  # the original filters no codes
    prior = streaming = None  # nothing is known of its codes; its motion is made of whole clips

    def __init__(
        self,
        stage_one: StageOne,
        denoiser: Denoiser,
        device: torch.device | str = "cpu",
        source: str | os.PathLike | None = None,
        fingerprint: str = "",
    ) -> None:
        self.fingerprint = fingerprint
        self.device, self.source = torch.device(device), source or hubert.NAME
        self.stage_one = stage_one.to(self.device).eval().requires_grad_(False)
        self.denoiser = denoiser.to(self.device).eval().requires_grad_(False)
        self.name, self.size = f"original-{denoiser.config.variant}", stage_one.config.size
        wanted = (stage_one.config.motion, stage_one.config.style)
        if (denoiser.config.motion, denoiser.config.start) != wanted:
            raise InputError(f"stage one and stage two do not belong together: codes of {wanted} numbers in stage one")

    @cached_property
    def constants(self) -> Constants:
        """The decoder's own, in the format that draws fastest here."""
        low = draws_in_bfloat16(self.device, self.stage_one.config.channels[-1])
        return self.stage_one.dec.constants(torch.bfloat16 if low else torch.float32)

    @cached_property
    def frontend(self) -> SpeechFrontend:
        """What the variant hears with, loaded when it is first needed."""
        return load_speech_frontend(self.denoiser, self.source, self.device)

    def check(self, options: RenderOptions) -> None:
        """InputError for what this family cannot do."""
        ddim_schedule(options.steps or self.steps)
        if options.guidance is not None:
            raise InputError(f"guidance is {options.guidance}, but the original has none; leave --guidance away")
        for name in ("lips", "head", "blink"):
            if getattr(options, name) != 1:
                raise InputError(f"--{name} needs directions of known meaning; the original has none, leave it at 1")
        known = self.denoiser.config.signals
        asked = {name: signal for name, signal in CONTROLS.items() if getattr(options, name) is not None}
        asked |= {"still": "pose"} if options.still else {}
        for name, signal in asked.items():
            if signal not in known:
                obeys = ", ".join(known) or "nothing but speech"
                raise InputError(
                    f"--{name} needs the signal {signal}, but {self.denoiser.config.variant} obeys {obeys}; "
                    "take a full_control file as --stage2"
                )

    def check_face(self, found: Face, crop: Crop, finder: FaceFinder, subject: OriginalFace | None = None) -> FaceCheck:
        """Nothing is said: there is no prior of its codes."""
        return FaceCheck()

    def crop(self, picture: np.ndarray, found: Face) -> Crop:
        """The square around a face, placed as in the pictures that the networks know."""
        return crop_face(picture, found, FACE_IN_CROP, MIDDLE_IN_CROP)

    @torch.inference_mode()
    def prepare(self, picture: np.ndarray, crop: Crop) -> OriginalFace:
        """Everything that is done once per face."""
        look = self.stage_one.encode(resize_to_network(to_tensor(crop.image, self.device), self.size))
        ready = self.stage_one.dec.prepare(self.constants, look.image_code, look.skips)
        own = portrait_signals(crop)
        return OriginalFace(crop, look.image_code, look.motion_code, look.identity, self.drawing(ready), own)

    def drawing(self, ready: Ready) -> Callable[[Tensor], Tensor]:
        """The decoder of one portrait, motion [B,M] -> pictures [B,3,n,n]; on an NVIDIA card a CUDA graph."""
        constants = self.constants  # kept by the function: a graph reads where they were
        return as_cuda_graph(lambda motion: self.stage_one.dec.draw(constants, ready, motion).pictures, self.device)

    @torch.inference_mode()
    def read_codes(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [B,256,256,3] -> motion codes [B,M] and identity codes [B,S]."""
        views = to_tensors(pictures.to(self.device)).split(4)  # more gains nothing
        looks = [self.stage_one.encode(resize_to_network(part, self.size)) for part in views]
        return torch.cat([look.motion_code for look in looks]), torch.cat([look.identity for look in looks])

    def speech_features(self, samples: Tensor) -> Tensor:
        """Samples [N] at 16 kHz, as recorded -> features [1,rT,S], T = ceil(25 seconds)."""
        return self.frontend(samples)

    @torch.inference_mode()
    def generate_motion(
        self,
        sound: Tensor,
        subject: OriginalFace,
        options: RenderOptions = RenderOptions(),
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Tensor:
        """Features of `speech_features` -> motion [T,M], within -1..1.

        Clips above WINDOW are made in windows, each from the motion just before it, as the network was taught to start.
        """
        rate = self.denoiser.config.sound_rate
        frames = sound.shape[1] // rate
        noise = torch.randn(1, frames, self.denoiser.config.motion, generator=torch.Generator().manual_seed(seed))
        signals = control_signals(subject.own, options, frames)
        made, low = noise[:, :0].to(self.device), self.device.type == "cpu" and bfloat16_is_faster()
        for begin, end in split_windows(frames):
            start = made[:, begin - 1] if begin else subject.motion
            own = {name: signal[:, begin:end].to(self.device) for name, signal in signals.items()}
            heard = sound[:, begin * rate : end * rate].to(self.device)
            condition = self.denoiser.condition(heard, subject.image_code, start, own, obey=bool(own))
            with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
                piece = ddim_sample(
                    lambda x, time, condition=condition: self.denoiser(condition, x, time),
                    noise[:, begin:end].to(self.device),
                    options.steps or self.steps,
                )
            made = crossfade(made, piece, begin)
            if progress:
                progress("motion", end, frames)
        return made[0]

    @torch.inference_mode()
    def render_frames(self, subject: OriginalFace, motion: Tensor, full: bool) -> Iterator[np.ndarray]:
        """Motion [B,M] -> the moved crop, uint8, [side,side,3] in the picture's pixels if `full`, else [n,n,3]."""
        # A processor's cores are busy with one frame, and large batches leave its caches: one by one.
        for part in motion.split(1 if motion.device.type == "cpu" else len(motion)):
            for frame in to_host(partial(subject.pictures, part), self.device):
                yield enlarge(frame, int(subject.crop.side)) if full else frame


def resize_to_network(pictures: Tensor, size: int) -> Tensor:
    """Crops [B,3,256,256] to the size of the networks, which is the same for the published ones."""
    if size == CROP:
        return pictures
    return nn.functional.interpolate(pictures, (size, size), mode="bilinear", antialias=True)


def enlarge(frame: np.ndarray, side: int) -> np.ndarray:
    """uint8 [n,n,3] -> [side,side,3], bicubic."""
    return np.asarray(Image.fromarray(frame).resize((side, side), Image.Resampling.BICUBIC))


def portrait_signals(crop: Crop) -> dict[str, Tensor]:
    """The portrait's own control signals in the original's units: pose [3], location [1], scale [1]."""
    points = crop.landmarks
    seen = Face(box_of(points), 1.0, points)
    between = points[list(INNER_BROWS), :2].mean(0)
    pose = [seen.yaw, seen.pitch, seen.roll]
    scale = float(np.linalg.norm(points[CHIN, :2] - between))
    return {
        "location": torch.tensor([float(points[NOSE_TIP, 0])]),
        "scale": torch.tensor([scale]),
        "pose": to_original_units(torch.tensor(pose)),
    }


def to_original_units(angles: Tensor) -> Tensor:
    """Yaw, pitch, roll in our degrees [...,3] -> in the original's units, within -1..1."""
    yaw, pitch, roll = angles.float().unbind(-1)
    return (torch.stack([yaw, pitch + PITCH, ROLL * roll], -1) / TURN).clamp(-1, 1)


def control_signals(own: dict[str, Tensor], options: RenderOptions, frames: int) -> dict[str, Tensor]:
    """What the options ask for as signals [1,frames,1 or 3]; none if they ask for nothing.

    The original knows one switch for all signals, so what is not asked for stays the portrait's own. Constants are
    reached from there within a second; a pose file is followed exactly, and its last row stays.
    """
    if not options.still and all(getattr(options, name) is None for name in CONTROLS):
        return {}
    angles = to_original_units(torch.tensor([getattr(options, name) or 0.0 for name in ("yaw", "pitch", "roll")]))
    given = torch.tensor([getattr(options, name) is not None for name in ("yaw", "pitch", "roll")])
    wanted = {
        "location": own["location"] + (options.location or 0.0),
        "scale": own["scale"] * (options.scale or 1.0),
        "pose": torch.where(given, angles, own["pose"]),
    }
    come = smoothstep(torch.arange(frames) / FPS)[:, None]
    signals = {name: own[name] + come * (value - own[name]) for name, value in wanted.items()}
    if options.pose is not None:
        rows = to_original_units(torch.tensor(read_pose(options.pose)))
        signals["pose"] = rows[torch.arange(frames).clamp(max=len(rows) - 1)]
    return {name: signal[None].clamp(-1 if name == "pose" else 0, 1) for name, signal in signals.items()}


def split_windows(frames: int) -> list[tuple[int, int]]:
    """Beginnings and ends of as few windows of at most WINDOW frames as will do, all but equally long, that share
    OVERLAP frames: what is made twice stays below a tenth of a long clip."""
    count = max(1, math.ceil((frames - OVERLAP) / (WINDOW - OVERLAP)))
    own = (frames - OVERLAP) / count
    return [(round(i * own), frames if i == count - 1 else round((i + 1) * own) + OVERLAP) for i in range(count)]


def crossfade(made: Tensor, piece: Tensor, begin: int) -> Tensor:
    """Motion [1,t,M] and a window [1,w,M] that begins at frame `begin` <= t: the shared frames fade from one to the
    other."""
    shared = made.shape[1] - begin
    share = smoothstep(torch.arange(1, shared + 1, device=made.device) / (shared + 1))[:, None]
    mixed = made[:, begin:] + share * (piece[:, :shared] - made[:, begin:])
    return torch.cat([made[:, :begin], mixed, piece[:, shared:]], 1)
