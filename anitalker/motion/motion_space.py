"""Motion space: reads motion, identity and appearance codes from a picture, and moves landmarks by motion codes.

Letters: B pictures, M = 20 motion numbers (6 of pose, K = 14 of expression), N = 468 landmarks, D width of a code.
Expression is displacement from the person's neutral face along K orthonormal directions, in face heights. A picture
does not show the neutral face, so the network infers the expression from pixels; then
neutral = shape - directions * expression. The motion and identity heads read the code that HAL aggregates
(AniTalker, Liu et al. 2024, section 3.2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from anitalker.config import LANDMARKS, POSE_SIZE
from anitalker.faces.landmarks import (
    LEFT_EYE,
    RIGHT_EYE,
    from_canonical,
    level_depth,
    resolve_crossed_pairs,
    to_canonical,
)
from anitalker.faces.similarity_transform import Similarity
from anitalker.network_config import MotionSpaceConfig
from encoders.hal import HierarchicalAggregation
from encoders.image import build_encoder

ALIGNED_FACE_HEIGHT = 0.75  # crop widths, in the aligned crop of the second pass
# Of the canonical origin in the aligned crop, in crop widths from its centre: forehead and chin are equally far from
# the edges.
ALIGNED_ORIGIN = (0.0, -0.06)
SETTLE_TURN = 0.35  # radians of head turn at which a picture counts half
MAX_LEARNED_NUMBER = 0.2  # about the range of expression coefficients


@dataclass(frozen=True)
class Codes:
    """Codes of pictures: motion [B,M], identity [B,64] of unit length, appearance [B,D]; HAL's weights [stages]."""

    motion: Tensor
    identity: Tensor
    appearance: Tensor
    hal_weights: Tensor


@dataclass(frozen=True)
class RestingFace:
    """What the landmarks of a portrait, or of B of them, have to be moved by motion codes.

    shape [B,N,3] and displacement [B,N,3], that of their own codes, in face heights; scale [B,N,1]: from `lid_scale`.
    """

    shape: Tensor
    displacement: Tensor
    scale: Tensor


def upright(motion: Tensor) -> Similarity:
    """The similarity that makes heads with motion codes [B,M] upright, centred and ALIGNED_FACE_HEIGHT high."""
    log_scale = math.log(ALIGNED_FACE_HEIGHT) - motion[:, 5]
    unshifted = Similarity(-motion[:, 2], log_scale, torch.zeros_like(motion[:, 3:5]))
    origin = torch.tensor(ALIGNED_ORIGIN, device=motion.device, dtype=motion.dtype)
    return replace(unshifted, shift=origin - (unshifted.matrix() @ motion[:, 3:5, None]).squeeze(-1))


def lid_scale(neutral: Tensor, canonical: Tensor) -> Tensor:
    """How far a person's lids travel: the person's lid opening over the canonical one at the lids, 1 elsewhere.

    neutral [...,N,3] and canonical [N,3] in face heights -> [...,N,1], within 0.5 .. 1.8.
    """
    scale = torch.ones_like(neutral[..., :1])
    for ring, pairs in ((RIGHT_EYE, ((160, 144), (158, 153))), (LEFT_EYE, ((385, 380), (387, 373)))):
        (a, b), (c, d) = pairs
        opening = (neutral[..., a, :2] - neutral[..., b, :2]).norm(dim=-1)
        opening = opening + (neutral[..., c, :2] - neutral[..., d, :2]).norm(dim=-1)
        canonical_opening = (canonical[a, :2] - canonical[b, :2]).norm() + (canonical[c, :2] - canonical[d, :2]).norm()
        scale[..., list(ring), :] = (opening / canonical_opening).clamp(0.5, 1.8)[..., None, None]
    return scale


def _no_autocast(like: Tensor) -> torch.autocast:
    """Geometry in float32 whatever the caller's precision: bfloat16 resolves positions to half a pixel only."""
    return torch.autocast(like.device.type, enabled=False)


class MotionSpace(nn.Module):
    """Image encoder, HAL, motion head and identity head, and the orthonormal directions of landmark displacement."""

    motion_mean: Tensor
    motion_std: Tensor
    canonical: Tensor
    directions: Tensor

    def __init__(self, config: MotionSpaceConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder.family, config.encoder.channels, config.encoder.head)
        channels = cast("tuple[int, ...]", self.encoder.out_channels)
        self.hal = HierarchicalAggregation(channels, config.encoder.code_size, config.encoder.hal)
        width = config.encoder.code_size
        self.motion_head = nn.Sequential(
            nn.Linear(width, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.hidden), nn.GELU()
        )
        self.motion_out = nn.Linear(config.hidden, config.shown_size)
        self.learned_out = nn.Linear(config.hidden, config.learned_size) if config.learned_size else None
        self.identity_head = nn.Sequential(
            nn.Linear(width, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.identity_size)
        )
        # Mean and deviation of motion codes, so that the head's output is of order one; measured on the training clips.
        self.register_buffer("motion_mean", torch.zeros(config.shown_size))
        self.register_buffer("motion_std", torch.ones(config.shown_size))
        self.register_buffer("canonical", torch.zeros(LANDMARKS, 3))
        self.register_buffer("directions", torch.zeros(LANDMARKS * 3, config.expression_size))

    def forward(self, image: Tensor) -> Codes:
        """Pictures [B,3,256,256] in [-1,1] -> Codes, from nothing but pixels.

        Two passes: the first finds the head; the second sees it upright, centred and larger, which leaves the network's
        precision to head turn and expression. The pose is transformed back into the picture's frame.
        """
        with torch.no_grad():
            first_motion = self.look(image).motion
        with _no_autocast(image):
            alignment = upright(first_motion)
            aligned = alignment.pictures(image)
        codes = self.look(aligned)
        with _no_autocast(image):
            return replace(codes, motion=alignment.pose_back(codes.motion))

    def look(self, image: Tensor) -> Codes:
        """One pass over pictures [B,3,256,256] in [-1,1] -> Codes in the frame of these pictures."""
        appearance, weights = self.hal(self.encoder(image))
        hidden = self.motion_head(appearance)
        motion = self.motion_out(hidden).float() * self.motion_std + self.motion_mean
        if self.learned_out is not None:
            motion = torch.cat([motion, MAX_LEARNED_NUMBER * self.learned_out(hidden).float().tanh()], -1)
        identity = nn.functional.normalize(self.identity_head(appearance).float(), dim=-1)
        return Codes(motion, identity, appearance.float(), weights)

    def neutral(self, landmarks: Tensor, motion: Tensor) -> Tensor:
        """The neutral face behind landmarks [B,N,3] (crop widths) that show motion [B,M] -> [B,N,3] in face heights."""
        with _no_autocast(landmarks):
            shape = self._shape(landmarks, motion)
            displacement = self._displacement(motion)
            scale = lid_scale(shape - displacement, self.canonical)
            return shape - scale * displacement

    def landmarks(self, portrait: Tensor, portrait_motion: Tensor, motion: Tensor) -> Tensor:
        """Portrait landmarks [B,N,3] that show portrait_motion [B,M], moved to show motion [B,M] -> [B,N,3].

        target = pose(neutral + S D e) with S from `lid_scale`, directions D and expression e. The portrait's own code
        gives the portrait's own landmarks back exactly, whatever the directions cannot express. All in crop widths.
        """
        return self.move(self.rest(portrait, portrait_motion), motion)

    def settle(self, landmarks: Tensor, motion: Tensor) -> Tensor:
        """The motion code [1,M] of the first of K pictures of a person, from what all of them show at rest.

        landmarks [K,N,3] in crop widths and the codes read from the pictures [K,M]. One picture leaves open what is the
        face and what its expression. The neutral faces behind several agree better on average, those that look ahead
        more; the expression is what the first picture's face has beyond that.
        """
        with _no_autocast(landmarks):
            weight = 1 / (1 + motion[:, :2].square().sum(1) / SETTLE_TURN**2)
            neutral = (self.neutral(landmarks, motion) * weight[:, None, None]).sum(0, keepdim=True) / weight.sum()
            return self.beyond(neutral, landmarks[:1], motion[:1])

    def beyond(self, neutral: Tensor, landmarks: Tensor, motion: Tensor) -> Tensor:
        """Motion codes [B,M] whose expression is what landmarks [B,N,3] have beyond a neutral face that is known.

        neutral [1,N,3] in face heights; motion [B,M]: the codes that were read, whose pose stays.
        """
        with _no_autocast(landmarks):
            shape, scale = self._shape(landmarks, motion), lid_scale(neutral, self.canonical)
            expression = ((shape - neutral) / scale).flatten(1) @ self.directions
            return torch.cat([motion[:, :POSE_SIZE], expression, motion[:, self.config.shown_size :]], 1)

    def rest(self, portrait: Tensor, portrait_motion: Tensor) -> RestingFace:
        """The part of `landmarks` that is the same for all frames of a portrait."""
        with _no_autocast(portrait):
            shape, displacement = self._shape(portrait, portrait_motion), self._displacement(portrait_motion)
            return RestingFace(shape, displacement, lid_scale(shape - displacement, self.canonical))

    def move(self, face: RestingFace, motion: Tensor) -> Tensor:
        """The part of `landmarks` that motion [B,M] changes; the face may be one for all of them."""
        with _no_autocast(motion):
            change = self._displacement(motion) - face.displacement
            return resolve_crossed_pairs(from_canonical(face.shape + face.scale * change, motion[..., :POSE_SIZE]))

    def _shape(self, landmarks: Tensor, motion: Tensor) -> Tensor:
        pose = motion[..., :POSE_SIZE]
        return to_canonical(level_depth(landmarks, pose, self.canonical), pose)

    def _displacement(self, motion: Tensor) -> Tensor:
        return (motion[..., POSE_SIZE : self.config.shown_size] @ self.directions.T).unflatten(-1, (LANDMARKS, 3))
