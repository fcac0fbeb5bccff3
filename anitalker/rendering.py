"""Motion -> a stream of frames: in batches, in constant memory, per-portrait work done once.

Letters: B frames at once, T frames in all, M = 20 motion numbers, N = 468 landmarks, h x w pixels of the crop region.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anitalker.decoder import Decoder, Layers, Prepared, compose
from anitalker.face import Crop, native, paste_back
from anitalker.machine import draws_in_bfloat16
from anitalker.motion_space import Codes, MotionSpace
from anitalker.warp import landmark_flow

PIXELS_AT_ONCE = 2**21  # composed pixels held at a time: large portraits go frame by frame


@dataclass(frozen=True)
class Subject:
    """One face of a portrait, ready to move. source [1,3,h,w] in [-1,1]: the crop in the picture's own pixels."""

    crop: Crop
    codes: Codes
    landmarks: Tensor
    prepared: Prepared
    source: Tensor


def prepare(space: MotionSpace, decoder: Decoder, picture: np.ndarray, crop: Crop, device: torch.device) -> Subject:
    """Everything that is done once per face: codes read from the crop's pixels, the decoder's view, native pixels."""
    with torch.inference_mode():
        image = to_tensor(crop.image, device)
        landmarks = torch.tensor(crop.landmarks, device=device)[None]
        codes = space(image)
        prepared = decoder.prepare(image, landmarks, codes.motion, codes.appearance)
        return Subject(crop, codes, landmarks, prepared, to_tensor(native(picture, crop), device))


def to_tensor(picture: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 [h,w,3] -> [1,3,h,w] in [-1,1]."""
    return torch.tensor(picture, device=device).permute(2, 0, 1)[None].float() / 127.5 - 1


def to_pictures(frames: Tensor) -> np.ndarray:
    """[B,3,h,w] in [-1,1] -> uint8 [B,h,w,3]."""
    whole = ((frames + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return whole.permute(0, 2, 3, 1).cpu().numpy()


@torch.inference_mode()
def draw(space: MotionSpace, decoder: Decoder, subject: Subject, motion: Tensor) -> Layers:
    """Layers of one subject under motion [B,M]; the same for any B."""
    if motion.device.type != "cpu":
        return _draw(space, decoder, subject, motion)
    # In bfloat16 a processor's rounding depends on the batch, and its cores are busy with one frame: one by one.
    parts = [_draw(space, decoder, subject, one) for one in motion.split(1)]
    return Layers(*(torch.cat([getattr(part, name) for part in parts]) for name in ("flow", "masks", "pixels")))


def _draw(space: MotionSpace, decoder: Decoder, subject: Subject, motion: Tensor) -> Layers:
    start = subject.codes.motion.expand(len(motion), -1)
    targets = space.landmarks(subject.landmarks.expand(len(motion), -1, -1), start, motion)
    low = draws_in_bfloat16(motion.device, decoder.config.channels[0])
    flow = landmark_flow(
        subject.landmarks.expand(len(motion), -1, -1), targets, decoder.config.grid, decoder.config.smoothing
    )
    with torch.autocast(motion.device.type, torch.bfloat16, enabled=low):
        return decoder.refine(subject.prepared, targets, motion, flow)


@torch.inference_mode()
def patches(source: Tensor, layers: Layers) -> Iterator[np.ndarray]:
    """The moving crop region over `source` [1,3,h,w], uint8 [h,w,3] per frame of layers."""
    step = max(1, PIXELS_AT_ONCE // source[0, 0].numel())
    for at in range(0, len(layers.flow), step):
        part = slice(at, at + step)
        piece = Layers(layers.flow[part], layers.masks[part], layers.pixels[part])
        yield from to_pictures(compose(source, piece))


def render(
    space: MotionSpace,
    decoder: Decoder,
    subjects: Sequence[Subject],
    motions: Sequence[Tensor],
    batch_size: int,
    picture: np.ndarray | None,
) -> Iterator[np.ndarray]:
    """Frames, uint8 [H,W,3]: the subjects, each under its own motion [T,M], in `picture`.

    Without a picture the first subject's 256x256 crop is the frame.
    """
    for at in range(0, len(motions[0]), batch_size):
        pairs = zip(subjects, motions, strict=True)
        layers = [draw(space, decoder, subject, motion[at : at + batch_size]) for subject, motion in pairs]
        if picture is None:
            yield from patches(subjects[0].prepared.picture, layers[0])
            continue
        streams = [patches(subject.source, own) for subject, own in zip(subjects, layers, strict=True)]
        for moved in zip(*streams, strict=True):
            yield paste_all(picture, moved, [subject.crop for subject in subjects])


def paste_all(picture: np.ndarray, moved: Sequence[np.ndarray], crops: Sequence[Crop]) -> np.ndarray:
    """Every patch in its place. Where crops overlap their changes add up, so that nobody is covered by a neighbour's
    still surroundings."""
    pasted = [paste_back(picture, patch, crop) for patch, crop in zip(moved, crops, strict=True)]
    if len(pasted) == 1:
        return pasted[0]
    change = sum(one.astype(np.int16) - picture for one in pasted)
    return (picture + change).clip(0, 255).astype(np.uint8)
