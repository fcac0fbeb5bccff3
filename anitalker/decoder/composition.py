"""How a frame is composed of the decoder's layers: fields on its grid, and the compositor that torch computes.

Letters: B frames, n x n = 256 x 256 places of the decoder's grid, H x W pixels of the crop region, h x w pixels of the
part of it that is drawn. Pictures are [.,3,h,w] in [-1,1].

    frame = S + A (W - Dw) - C (S - D) + BX + P Dw - Q D

S is the portrait, W the portrait under the flow, X what is synthesised; D and Dw are the finest detail of S and W. A is
the share of the warped layer and B that of the synthesised one; C = A + B is the share of the portrait that they cover.
Colours blend softly. Detail is taken from one of the two photographed layers, since the mean of two resampled pictures
would lose it: P of it comes with the flow, and Q of the portrait's own is left out. All are 0 where nothing is
displaced or synthesised, so what rests equals the portrait to the bit, and all fade to 0 at the crop's border.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.decoder.detail import DETAIL_OFFSET, TensorDetail, box_mean, sliding_reduce, window_counts
from anitalker.decoder.eyelids import warp_eyelids
from anitalker.decoder.viewport import Viewport
from anitalker.faces.paste import feather
from anitalker.runtime.arrays import is_on_host
from anitalker.runtime.smoothstep import smoothstep

if TYPE_CHECKING:
    from anitalker.decoder.decoder import Layers

FIELDS = (2, 1, 1, 1, 1, 3)  # channels: flow, A, C, P, Q, BX
MOVING_PIXELS = (0.2, 0.7)  # displacement in pixels of 256: below, the portrait stays; above, the frame replaces it
SYNTHESISED_SHARE = (0.08, 0.25)  # the same for the mask of the synthesised layer
MOTION_MARGIN = 3  # pixels of 256 by which the moving region is widened and its edge softened
RESTING_SHARE = (0.42, 0.58)  # of both photographed layers: where detail changes from the warped to the resting one
PHOTOGRAPHED_SHARE = (0.4, 0.9)  # of the synthesised layer: where detail ends


def composition_fields(layers: Layers) -> Tensor:
    """The fields of frames that keep what rests and carry their detail: [B,9,n,n], channels as in FIELDS."""
    rest, warped, synthesised = layers.masks.split(1, 1)  # [B,1,n,n]
    at_rest = smoothstep(rest / (rest + warped).clamp(min=1e-3), *RESTING_SHARE)
    photographed = 1 - smoothstep(synthesised, *PHOTOGRAPHED_SHARE)
    side = layers.flow.shape[-1]
    edge = torch.from_numpy(feather(side).copy()).to(layers.flow.device)
    moves = motion_mask(layers) * (edge[:, None] * edge)
    kept = photographed * at_rest
    shares = [moves * share for share in (warped, warped + synthesised, photographed - kept, 1 - kept)]
    return torch.cat([layers.flow, *shares, moves * synthesised * layers.synthesised], 1)


def motion_mask(layers: Layers) -> Tensor:
    """Where the frames differ from the portrait: [B,1,n,n] in 0..1 with soft edges; it follows the head.

    Exactly 0 where next to nothing is displaced and next to nothing synthesised.
    """
    dx, dy = layers.flow.split(1, 1)
    distance = torch.addcmul(dx.square(), dy, dy).sqrt() * layers.flow.shape[-1]  # in the decoder's pixels
    changed = torch.maximum(smoothstep(distance, *MOVING_PIXELS), smoothstep(layers.masks[:, 2:], *SYNTHESISED_SHARE))
    if layers.look is not None:
        changed = torch.maximum(changed, layers.look.eyes)
    side = 2 * MOTION_MARGIN + 1
    if len(changed) == 1 and is_on_host(changed):
        return torch.from_numpy(_widen(changed[0, 0].numpy(), side))[None, None]
    padded = F.pad(changed, (MOTION_MARGIN,) * 4)  # zeros: `changed` is never below 0
    widened = sliding_reduce(sliding_reduce(padded, side, 2, torch.maximum), side, 3, torch.maximum)
    return box_mean(widened, side)


def _widen(changed: np.ndarray, side: int) -> np.ndarray:
    """The maximum over side x side places, then the mean: what `motion_mask` computes on other devices, quicker."""
    ones = np.ones(side, np.float32)
    widened = cv2.dilate(changed, ones[:, None] * ones)
    # Sums of taps, not `cv2.blur`, whose running sums would leave rounding where there is nothing.
    sums = cv2.sepFilter2D(widened, -1, ones, ones, borderType=cv2.BORDER_CONSTANT)
    return sums / window_counts(*changed.shape, side, torch.device("cpu")).numpy()


def compose(picture: Tensor, layers: Layers, viewport: Viewport | None = None) -> Tensor:
    """Crop region [1 or B,3,h,w] and Layers -> frames [B,3,h,w], every pixel of which is composed; for training and
    small frames, without detail. viewport: the part of the region that both show; None: all of it.
    """
    viewport = viewport or Viewport.whole(picture.shape[-2], picture.shape[-1])
    picture = picture.expand(len(layers.flow), -1, -1, -1)
    warped_mask, synthesised_mask = viewport.resize(layers.masks[:, 1:]).split(1, 1)  # the masks' sum is one
    grid = viewport.sampling_grid(viewport.resize(layers.flow)).to(picture.dtype)
    warped = F.grid_sample(picture, grid, padding_mode="border", align_corners=False)
    if layers.landmark_pair is not None:
        warped = warp_eyelids(picture, warped, layers.landmark_pair, viewport, layers.irises)
    synthesised = viewport.resize(layers.synthesised)
    frames = torch.addcmul(picture, warped_mask, warped - picture)
    frames = frames.addcmul(synthesised_mask, synthesised - picture)
    return frames if layers.mouth is None else layers.mouth.over(frames, picture, viewport)


def compose_finely(detail: TensorDetail, layers: Layers) -> Tensor:
    """Frames [B,3,h,w] with the portrait's detail; equal to the portrait where nothing moves. Of a portrait with alpha
    they are [B,4,h,w]: alpha goes wherever the flow takes it, since no background has to rest.

    `fused_compositor` draws the same in less time on processors.
    """
    count, viewport, source = len(layers.flow), detail.viewport, detail.source
    flow, warped_share, covered, carried, left_out, drawn = viewport.resize(composition_fields(layers)).split(FIELDS, 1)
    fine = detail.fine.expand(count, -1, -1, -1)
    warped = F.grid_sample(fine, viewport.sampling_grid(flow), padding_mode="border", align_corners=False)
    if layers.landmark_pair is not None:
        warped = warp_eyelids(fine, warped, layers.landmark_pair, viewport, layers.irises)
    warped, warped_detail = warped.split((3, 1), 1)
    warped_detail = warped_detail + (1 - DETAIL_OFFSET / 127.5)
    frames = source + warped_share * (warped - warped_detail) - covered * (source - detail.detail) + drawn
    frames += carried * warped_detail - left_out * detail.detail
    frames = frames if layers.mouth is None else layers.mouth.over(frames, fine[:, :3], viewport, faded=True)
    if detail.alpha is None:
        return frames
    alpha, grid = detail.alpha.expand(count, -1, -1, -1), viewport.sampling_grid(flow)
    return torch.cat([frames, F.grid_sample(alpha, grid, padding_mode="border", align_corners=False)], 1)
