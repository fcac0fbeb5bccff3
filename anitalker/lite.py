"""The family `lite`: our own small networks behind `anitalker.model.Model`.

Letters: B frames at once, T frames in all, M = 20 motion numbers, N = 468 landmarks, h x w pixels of the crop region.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from anitalker import detail, driving, face, motion_files
from anitalker.config import CROP, LITE_STEPS, RenderOptions
from anitalker.decoder import Layers, Prepared, Unet, compose
from anitalker.directions import Groups, find_groups, temper
from anitalker.generator import Wishes, generate
from anitalker.graphs import graphed, launching
from anitalker.machine import draws_in_bfloat16
from anitalker.motion_space import Codes
from anitalker.rendering import fetch, to_tensor
from anitalker.warp import landmark_flow
from encoders.audio import level_gain

if TYPE_CHECKING:
    from anitalker.model import Progress
    from anitalker.weights import Networks

SHARPENED = 2**22  # pixels of a crop region, 2048 a side; beyond, carrying detail would take gigabytes
PIXELS_AT_ONCE = 2**21  # composed pixels held at a time: large portraits go frame by frame


@dataclass(frozen=True)
class Subject:
    """One face of a portrait, ready to move. source [1,3,h,w] in [-1,1]: the crop in the picture's own pixels; detail:
    what of it is carried along, None where that would take gigabytes; unet: the decoder's, as a CUDA graph of this
    subject's frames, None where there are no such graphs."""

    crop: face.Crop
    codes: Codes
    landmarks: Tensor
    prepared: Prepared
    source: Tensor
    detail: detail.Detail | None = None
    unet: Unet | None = None

    @property
    def motion(self) -> Tensor:
        """The portrait's own motion code [1,M]."""
        return self.codes.motion


class Lite:
    """Motion space, decoder, generator and speech features as a `Model`."""

    size, steps, calm = CROP, LITE_STEPS, driving.CALM

    def __init__(self, networks: Networks, device: torch.device | str = "cpu") -> None:
        self.device, self.name = torch.device(device), networks.name
        self.space = networks.motion_space.to(self.device)
        self.decoder = networks.decoder.to(self.device)
        self.generator = networks.generator.to(self.device)
        self.speech = networks.speech.to(self.device)

    def check(self, options: RenderOptions) -> None:
        """Nothing that RenderOptions allow is refused."""

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
        source = to_tensor(face.native(picture, crop), self.device)
        carried = detail.prepare(source) if source[0, 0].numel() <= SHARPENED else None
        unet = graphed(self.decoder._unet, self.device)
        return Subject(crop, codes, landmarks, prepared, source, carried, unet)

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
        made = generate(self.generator, sound, subject.motion, rng, wishes(options))
        return temper(made, subject.motion, self.groups, options)

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
        if full and subject.detail is not None:
            yield from sharp_patches(subject.detail, self.layers(subject, motion))
        else:
            yield from patches(subject.source if full else subject.prepared.picture, self.layers(subject, motion))


@torch.inference_mode()
def patches(source: Tensor, layers: Layers) -> Iterator[np.ndarray]:
    """The moving crop region over `source` [1,3,h,w], uint8 [h,w,3] per frame of layers."""
    step = max(1, PIXELS_AT_ONCE // source[0, 0].numel())
    for at in range(0, len(layers.flow), step):
        yield from fetch(partial(compose, source, layers[at : at + step]), source.device)


@torch.inference_mode()
def sharp_patches(carried: detail.Detail, layers: Layers) -> Iterator[np.ndarray]:
    """The same with the portrait's own detail carried along, and its own pixels to the bit where nothing moves."""
    step = max(1, PIXELS_AT_ONCE // (2 * carried.source[0, 0].numel()))
    for at in range(0, len(layers.flow), step):
        yield from fetch(partial(detail.draw, carried, layers[at : at + step]), carried.source.device)


def wishes(options: RenderOptions) -> Wishes:
    """What of the options the motion generator obeys; what they leave open is the generator's own."""
    names = {field.name for field in fields(Wishes)} & {field.name for field in fields(RenderOptions)} - {"pose"}
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    pose = None if options.pose is None else torch.tensor(motion_files.read_pose(options.pose))
    return Wishes(**given, pose=pose)
