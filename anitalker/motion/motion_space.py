"""Motion space: a picture in; a motion code, an identity code and an appearance code out; codes move landmarks.

Letters: B pictures, M = 20 numbers of motion (6 of pose, K = 14 of expression), N = 468 landmarks, D widths of codes.
Expression is displacement from the person's NEUTRAL face along K orthonormal directions, in face heights. A picture
shows no neutral, so the network must infer the expression from pixels; then neutral = shape - directions * expression.
AniTalker (Liu et al. 2024, section 3.2) calls the aggregated code the input of the motion and identity encoders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from anitalker.config import LANDMARKS, POSE_SIZE, MotionSpaceConfig
from anitalker.faces.landmarks import (
    LEFT_EYE,
    RIGHT_EYE,
    from_canonical,
    level_depth,
    resolve_crossed_pairs,
    to_canonical,
)
from anitalker.faces.similarity_transform import Similarity
from encoders.hal import HierarchicalAggregation
from encoders.image import build_encoder

FACE = 0.75  # face height in crop widths at the second look
LEARNED = 0.2  # largest learned number: about what expressions reach
PLACE = (0.0, -0.06)  # of the canonical origin then, from the middle: forehead and chin are equally far from the edges


@dataclass(frozen=True)
class Codes:
    """What a picture says: motion [B,M], identity [B,64] of unit length, appearance [B,D], HAL's weights [stages]."""

    motion: Tensor
    identity: Tensor
    appearance: Tensor
    hal_weights: Tensor


def upright(motion: Tensor) -> Similarity:
    """The similarity that takes heads with motion code [B,M] upright, centred, FACE high."""
    size = math.log(FACE) - motion[:, 5]
    still = Similarity(-motion[:, 2], size, torch.zeros_like(motion[:, 3:5]))
    place = torch.tensor(PLACE, device=motion.device, dtype=motion.dtype)
    return replace(still, shift=place - (still.matrix() @ motion[:, 3:5, None]).squeeze(-1))


def lid_scale(neutral: Tensor, canonical: Tensor) -> Tensor:
    """How far a person's lids travel: own over canonical lid opening at the lids, 1 elsewhere.

    neutral [...,N,3] and canonical [N,3] in face heights -> [...,N,1], within 0.5 .. 1.8.
    """
    scale = torch.ones_like(neutral[..., :1])
    for ring, pairs in ((RIGHT_EYE, ((160, 144), (158, 153))), (LEFT_EYE, ((385, 380), (387, 373)))):
        own = sum((neutral[..., a, :2] - neutral[..., b, :2]).norm(dim=-1) for a, b in pairs)
        usual = sum((canonical[a, :2] - canonical[b, :2]).norm() for a, b in pairs)
        scale[..., list(ring), :] = (own / usual).clamp(0.5, 1.8)[..., None, None]
    return scale


def _exact(like: Tensor) -> torch.autocast:
    """Geometry in float32 whatever the caller's precision: bfloat16 knows places to half a pixel only."""
    return torch.autocast(like.device.type, enabled=False)


class MotionSpace(nn.Module):
    """Image encoder + HAL + motion head + identity head, and the orthonormal directions of landmark displacement."""

    def __init__(self, config: MotionSpaceConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder.family, config.encoder.channels, config.encoder.head)
        self.hal = HierarchicalAggregation(self.encoder.out_channels, config.encoder.code_size, config.encoder.hal)
        width = config.encoder.code_size
        self.motion_head = nn.Sequential(
            nn.Linear(width, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.hidden), nn.GELU()
        )
        self.motion_out = nn.Linear(config.hidden, config.shown_size)
        self.learned_out = nn.Linear(config.hidden, config.learned_size) if config.learned_size else None
        self.identity_head = nn.Sequential(
            nn.Linear(width, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.identity_size)
        )
        # Typical pose and spread of codes, so that the head's output is of order one; measured on the training clips.
        self.register_buffer("motion_mean", torch.zeros(config.shown_size))
        self.register_buffer("motion_std", torch.ones(config.shown_size))
        self.register_buffer("canonical", torch.zeros(LANDMARKS, 3))
        self.register_buffer("directions", torch.zeros(LANDMARKS * 3, config.expression_size))

    def forward(self, image: Tensor) -> Codes:
        """Pictures [B,3,256,256] in [-1,1] -> Codes. Nothing but pixels comes in.

        Looks twice: the first look finds the head, the second sees it upright, centred and larger, which leaves the
        network's precision to turn and expression; its pose is carried back into the picture's frame.
        """
        with torch.no_grad():
            first = self.look(image).motion
        with _exact(image):
            turn = upright(first)
            seen = turn.pictures(image)
        codes = self.look(seen)
        with _exact(image):
            return replace(codes, motion=turn.pose_back(codes.motion))

    def look(self, image: Tensor) -> Codes:
        """One look at pictures [B,3,256,256] in [-1,1] -> Codes in the frame of these pictures."""
        appearance, weights = self.hal(self.encoder(image))
        hidden = self.motion_head(appearance)
        motion = self.motion_out(hidden).float() * self.motion_std + self.motion_mean
        if self.learned_out is not None:
            motion = torch.cat([motion, LEARNED * self.learned_out(hidden).float().tanh()], -1)
        identity = nn.functional.normalize(self.identity_head(appearance).float(), dim=-1)
        return Codes(motion, identity, appearance.float(), weights)

    def neutral(self, landmarks: Tensor, motion: Tensor) -> Tensor:
        """The neutral face behind landmarks [B,N,3] (crop widths) that show motion [B,M] -> [B,N,3] in face heights."""
        with _exact(landmarks):
            shape = self._shape(landmarks, motion)
            displacement = self._displacement(motion)
            scale = lid_scale(shape - displacement, self.canonical)
            return shape - scale * displacement

    def landmarks(self, portrait: Tensor, portrait_motion: Tensor, motion: Tensor) -> Tensor:
        """Portrait landmarks [B,N,3] that show portrait_motion [B,M], moved to show motion [B,M] -> [B,N,3].

        target = pose(neutral + S D e): with the portrait's own code the portrait's landmarks come back exactly,
        whatever the directions leave out. S is `lid_scale`. All in crop widths.
        """
        with _exact(portrait):
            shape = self._shape(portrait, portrait_motion)
            scale = lid_scale(shape - self._displacement(portrait_motion), self.canonical)
            change = self._displacement(motion) - self._displacement(portrait_motion)
            return resolve_crossed_pairs(from_canonical(shape + scale * change, motion[..., :POSE_SIZE]))

    def _shape(self, landmarks: Tensor, motion: Tensor) -> Tensor:
        pose = motion[..., :POSE_SIZE]
        return to_canonical(level_depth(landmarks, pose, self.canonical), pose)

    def _displacement(self, motion: Tensor) -> Tensor:
        return (motion[..., POSE_SIZE : self.config.shown_size] @ self.directions.T).unflatten(-1, (LANDMARKS, 3))
