"""Mouth synthesiser: lips, teeth and tongue of a frame, drawn from the warped portrait and references of the person.

Letters: B frames, K references, S = 2 K aligned references, N = 468 landmarks, M = 20 motion, P = PATCH pixels.
Patches are [.,3,P,P] in [-1,1], placed as `mouth_patch.place_patch` says. Networks work on places of 4x4 pixels.

A U-Net sees the warped portrait and the contours of the lips that it shall show. Each reference is encoded once, in
its own patch, and offered twice: aligned with the skull, as upper teeth are, and with the jaw, as lower teeth and
tongue are. Each place attends to the aligned references (Vaswani et al. 2017, section 3.2.1, one query per place, and
one slot that holds nothing) and takes their pixels and features, so that one network serves a single portrait, several
photos and a video. The result is colour (warped portrait and reference pixels, mixed, and what neither has) and alpha.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import POSE_SIZE
from anitalker.decoder.blocks import ConvBlock, channels_last, from_cells, to_cells
from anitalker.decoder.mouth_patch import PATCH, alignments, lip_contours, patch_points, place_patch
from anitalker.faces.landmarks import face_height, lip_opening
from anitalker.network_config import MouthConfig

BLOCK = 4  # pixels along a side of a place
BORDER = 10  # pixels of the patch over which it fades into the frame
SHAPE_SIZE = 5  # numbers of `mouth_shape`
OUTSIDE = 12.0  # subtracted from the logit where a reference's patch does not reach


@dataclass(frozen=True)
class References:
    """References of B people (B = 1: of one person, for any number of frames), encoded once.

    patches [B,K,3,P,P]; values [B,K,V,P/4,P/4] and keys [B,K,D,P/4,P/4]; landmarks [B,K,N,3]; placement [B,K,2,3];
    shape [B,K,5]: from `mouth_shape`.
    """

    patches: Tensor
    values: Tensor
    keys: Tensor
    landmarks: Tensor
    placement: Tensor
    shape: Tensor


@dataclass(frozen=True)
class Taken:
    """What B frames see and take from their references: seen [B,C,P/4,P/4], pixels [B,3,P,P], values [B,V,P/4,P/4];
    shape [B,5] of the mouth that they shall show."""

    seen: Tensor
    pixels: Tensor
    values: Tensor
    shape: Tensor


class MouthSynthesizer(nn.Module):
    """The network of the mouth: at most 400 MFLOP a frame and two million weights."""

    window: Tensor

    def __init__(self, config: MouthConfig) -> None:
        super().__init__()
        self.config = config
        first, second, third = config.channels
        picture, contours = 3 * BLOCK**2, 2 * BLOCK**2
        self.reference = nn.Sequential(
            nn.Conv2d(picture + contours, first, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(first, first, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(first, config.values + config.keys, 1),
        )
        self.entry = nn.Conv2d(picture + contours, first, 3, padding=1)
        self.query = nn.Conv2d(first, config.keys, 1)
        self.fit = nn.Sequential(nn.Linear(3 * SHAPE_SIZE, 32), nn.SiLU(), nn.Linear(32, 2))  # skull and jaw
        self.nothing = nn.Parameter(torch.zeros(1))  # the logit of the slot that holds nothing
        self.join = nn.Conv2d(picture + config.values, first, 3, padding=1)
        self.down16, self.down8 = ConvBlock(first, second, 2), ConvBlock(second, third, 2)
        self.modulate = nn.Linear(config.motion_size + SHAPE_SIZE, 2 * third)
        self.narrow16, self.narrow32 = nn.Conv2d(third, second, 1), nn.Conv2d(second, first, 1)
        self.up16 = ConvBlock(second, second)
        self.up32 = nn.Conv2d(first, first, 3, padding=1)
        # RGB that is added, logit of the share of reference pixels, logit of alpha.
        self.exit = nn.Conv2d(first, 5 * BLOCK**2, 3, padding=1)
        nn.init.normal_(self.exit.weight, std=1e-3)
        self.exit.bias = nn.Parameter(torch.tensor([0.0, 0.0, 0.0, -2.0, -1.0]).repeat_interleave(BLOCK**2))
        window = (torch.arange(PATCH) + 0.5).clamp(max=BORDER) / BORDER
        window = torch.minimum(window, window.flip(0))
        self.register_buffer("window", (window[:, None] * window).square(), persistent=False)

    def encode(self, patches: Tensor, landmarks: Tensor, motion: Tensor) -> References:
        """Patches [B,K,3,P,P] that show landmarks [B,K,N,3] and motion [B,K,M] -> References."""
        count, points = patches.shape[:2], landmarks.flatten(0, 1)
        placement = place_patch(points)
        x = torch.cat([patches.flatten(0, 1), 2 * lip_contours(points, placement) - 1], 1)
        x = self.reference(channels_last(to_cells(x, BLOCK)))
        values, keys = x.unflatten(0, count).split((self.config.values, self.config.keys), 2)
        shape = mouth_shape(points, motion.flatten(0, 1)).unflatten(0, count)
        return References(patches, values, keys, landmarks, placement.unflatten(0, count), shape)

    def forward(self, warped: Tensor, landmarks: Tensor, motion: Tensor, references: References) -> Tensor:
        """The warped portrait's patches [B,3,P,P], landmarks [B,N,3] and motion [B,M] to show -> RGB and alpha
        [B,4,P,P]: what covers the frame, RGB about in [-1,1], alpha in 0..1."""
        return self.draw(warped, motion, self.take(warped, landmarks, motion, references))

    def take(self, warped: Tensor, landmarks: Tensor, motion: Tensor, references: References) -> Taken:
        """The first half of `forward`, with the same arguments: what references show of the wanted mouth."""
        placement, shape = place_patch(landmarks), mouth_shape(landmarks, motion)
        x = torch.cat([warped, 2 * lip_contours(landmarks, placement) - 1], 1)
        seen = self.entry(channels_last(to_cells(x, BLOCK)))
        pixels, values = self._attend(self.query(F.silu(seen)), landmarks, placement, shape, references)
        return Taken(seen, pixels, values, shape)

    def draw(self, warped: Tensor, motion: Tensor, taken: Taken) -> Tensor:
        """The second half of `forward`: RGB and alpha [B,4,P,P] out of what was taken."""
        pixels, values = taken.pixels, taken.values
        joined = torch.cat([to_cells(pixels, BLOCK).to(values.dtype), values], 1)
        x32 = F.silu(taken.seen + self.join(channels_last(joined)))
        x16 = self.down16(x32)
        x8 = self.down8(x16)
        features = torch.cat([_motion_features(motion), taken.shape], -1)
        scale, shift = self.modulate(features)[..., None, None].chunk(2, 1)
        x8 = x8 * (1 + scale) + shift
        x16 = self.up16(x16 + _double(self.narrow16(x8)))
        x32 = x32 + F.silu(self.up32(x32 + _double(self.narrow32(x16))))
        added, share, alpha = from_cells(self.exit(x32).float(), BLOCK).split((3, 1, 1), 1)
        colour = torch.lerp(warped, pixels.to(warped.dtype), torch.sigmoid(share)) + added
        return torch.cat([colour, torch.sigmoid(alpha) * self.window], 1)

    def _attend(
        self, query: Tensor, landmarks: Tensor, placement: Tensor, shape: Tensor, references: References
    ) -> tuple[Tensor, Tensor]:
        """What each place takes from the references: pixels [B,3,P,P] and values [B,V,P/4,P/4]."""
        count, number, side = len(query), references.keys.shape[1], query.shape[-1]
        own = shape[:, None].expand(-1, number, -1)
        other = references.shape.expand(count, -1, -1)
        fit = self.fit(torch.cat([own, other, own - other], -1)).float()  # [B,K,2]
        fields = torch.cat([references.keys, references.values], 2)
        fields, patches = (_of_frames(field, count) for field in (fields, references.patches))
        aligned = alignments(
            _of_frames(references.landmarks, count),
            _of_frames(references.placement, count),
            landmarks.repeat_interleave(number, 0),
            placement.repeat_interleave(number, 0),
        )
        coarse, fine = patch_points(aligned, side), patch_points(aligned, BLOCK * side)
        keys, value = _look(fields, coarse, count).split((self.config.keys, self.config.values), 2)
        outside = (coarse.abs().amax(-1) > 1).unflatten(0, (count, number)).flatten(1, 2).float()
        logits = (keys * query[:, None]).sum(2).float() * self.config.keys**-0.5  # [B,S,P/4,P/4]
        logits = logits + fit.flatten(1, 2)[..., None, None] - OUTSIDE * outside
        nothing = self.nothing.float().expand(count, 1, side, side)
        weights = torch.cat([logits, nothing], 1).softmax(1)[:, :-1]
        value = (value * weights[:, :, None].to(value.dtype)).sum(1)
        weights = weights / (weights.sum(1, keepdim=True) + 1e-4)  # pixels are mixed, never darkened
        weights = F.interpolate(weights, scale_factor=float(BLOCK), mode="bilinear", align_corners=False)
        return (_look(patches, fine, count) * weights[:, :, None]).sum(1), value


def mouth_shape(landmarks: Tensor, motion: Tensor) -> Tensor:
    """Lip opening and width in face heights, times 5, and the head's angles: [B,N,3] and [B,M] -> [B,5]."""
    width = (landmarks[:, 291, :2] - landmarks[:, 61, :2]).norm(dim=-1) / face_height(landmarks)
    return torch.cat([5 * torch.stack([lip_opening(landmarks), width], -1), motion[:, :3]], -1).float()


def lay_over(frames: Tensor, patch: Tensor) -> Tensor:
    """Patch [B,4,h,w] of RGB and alpha over frames [B,3,h,w] -> [B,3,h,w]."""
    return torch.lerp(frames, patch[:, :3], patch[:, 3:])


def _motion_features(motion: Tensor) -> Tensor:
    """Motion [B,M] without its position in the picture, times 5, so that angles and expression have order 1."""
    return torch.cat([motion[..., :3], motion[..., 3:POSE_SIZE] * 0, motion[..., POSE_SIZE:]], -1) * 5


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _of_frames(field: Tensor, count: int) -> Tensor:
    """[B or 1,K,...] -> [count K,...]."""
    return field.expand(count, *field.shape[1:]).flatten(0, 1)


def _look(fields: Tensor, points: Tensor, count: int) -> Tensor:
    """Fields [B K,C,h,w] at points [B K,2,h',w',2] -> [B,S,C,h',w'], S = 2 K."""
    grid = points.flatten(1, 2).to(fields.dtype)  # both maps in one call, one below the other
    looked = F.grid_sample(fields, grid, padding_mode="border", align_corners=False)
    return looked.unflatten(2, points.shape[1:3]).unflatten(0, (count, -1)).transpose(2, 3).flatten(1, 2)
