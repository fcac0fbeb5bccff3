"""Decoder: a portrait, its landmarks and a motion code -> one face frame, by warping the portrait and synthesising the
rest.

Letters: B frames, M = 20 motion, N = 468 landmarks, D appearance code. Pictures are [B,3,256,256] in [-1,1]. The U-Net
works on a grid of n x n = 128 x 128 cells, each of 2x2 pixels (space to depth).

A frame is three layers under soft masks whose sum is one: the portrait at rest (background), the portrait warped by the
landmark flow plus a learned residual flow, and synthesised pixels (mouth interior, eyelids, what was hidden). The first
two are resampled from the original picture at any resolution, so they are as sharp as the user's own pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import CROP, POSE_SIZE
from anitalker.decoder.blocks import ConvBlock, channels_last, from_cells, to_cells
from anitalker.decoder.eyeballs import moved_eyes
from anitalker.decoder.eyelids import warp_eyelids
from anitalker.decoder.flow import fold_mask, landmark_flow, resize, rigid_flow, warp
from anitalker.decoder.iris_shift import Irises, Look
from anitalker.decoder.mouth_layer import MouthLayer, join
from anitalker.decoder.teeth import upper_teeth
from anitalker.faces.landmarks import INNER_LIPS, LEFT_EYE, OUTER_LIPS, RIGHT_EYE, rasterise
from anitalker.network_config import DecoderConfig
from anitalker.runtime.arrays import is_on_host
from anitalker.runtime.bfloat16 import converts, in_bfloat16

CONTOURS = (OUTER_LIPS, INNER_LIPS, RIGHT_EYE, LEFT_EYE)
MAP_COUNT = 2 + 1 + 2 * len(CONTOURS)  # input maps beside pixels: flow, folds, contours of target and portrait
# Inside the target's lips, where the portrait, moved with the skull, shows no mouth:
MOUTH_LOGIT = 8.0  # added to the synthesised layer's logit
MOUTH_SHADOW = 1.0  # subtracted from the synthesised RGB before tanh, because the inside of a mouth is dark
MIN_LIP_CELLS = 128  # cells along a side for the lips' contour map: a coarser one would lose a narrow opening


@dataclass(frozen=True)
class Prepared:
    """What is computed once per portrait.

    picture [1,3,256,256], landmarks [1,N,3], motion [1,M], appearance [1,D]; contours [1,4,n,n]: contour maps;
    inner_lips [1,1,m,m]: the contour map of the inner lips on m = max(n, MIN_LIP_CELLS) cells; projection [1,24,n,n]:
    the share of picture and contours in the U-Net's first convolution; teeth [1,4,256,256]: from `upper_teeth`,
    None where the mouth synthesiser draws them.
    """

    picture: Tensor
    landmarks: Tensor
    motion: Tensor
    appearance: Tensor
    contours: Tensor
    inner_lips: Tensor
    projection: Tensor
    teeth: Tensor | None


@dataclass(frozen=True)
class Layers:
    """The layers of B frames.

    flow [B,2,256,256] in crop widths; masks [B,3,256,256] (rest, warped, synthesised; sum 1); synthesised
    [B,3,256,256]: synthesised RGB in [-1,1]; landmark_pair [B,2,N,2]: landmarks of portrait and target in crop widths,
    from which eyelids are warped at any resolution. Without landmark_pair the flow alone moves the lids. mouth: what is
    laid over the three layers; None in models without a mouth synthesiser. look: irises out of their places; None: in
    them.
    """

    flow: Tensor
    masks: Tensor
    synthesised: Tensor
    landmark_pair: Tensor | None = None
    mouth: MouthLayer | None = None
    look: Look | None = None

    @property
    def irises(self) -> Irises | None:
        """The irises of `look`."""
        return None if self.look is None else self.look.irises

    def __getitem__(self, frames: slice) -> Layers:
        """The layers of some of the frames."""
        pair = None if self.landmark_pair is None else self.landmark_pair[frames]
        mouth = None if self.mouth is None else self.mouth[frames]
        look = None if self.look is None else self.look[frames]
        return Layers(self.flow[frames], self.masks[frames], self.synthesised[frames], pair, mouth, look)

    @staticmethod
    def join(layers: Sequence[Layers]) -> Layers:
        """The layers of consecutive frames as one."""
        if len(layers) == 1:
            return layers[0]
        flow, masks, synthesised = (
            torch.cat([getattr(frame, name) for frame in layers]) for name in ("flow", "masks", "synthesised")
        )
        pairs = [frame.landmark_pair for frame in layers if frame.landmark_pair is not None]
        looks = [frame.look for frame in layers if frame.look is not None]
        pair, look = torch.cat(pairs) if pairs else None, Look.join(looks) if looks else None
        return Layers(flow, masks, synthesised, pair, join([frame.mouth for frame in layers]), look)


class Decoder(nn.Module):
    """The `lite` decoder: landmark flow and a small U-Net."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        widths, self.block_channels = config.channels, 3 * config.block**2  # channels of one cell's pixels
        self.entry = nn.Conv2d(2 * self.block_channels + MAP_COUNT, widths[0], 3, padding=1)  # the input projection
        self.down = nn.ModuleList(ConvBlock(a, b, 2) for a, b in pairwise(widths))
        self.modulate = nn.Linear(config.code_size + 2 * config.motion_size, 2 * widths[-1])
        self.middle = ConvBlock(widths[-1], widths[-1])
        pairs = list(pairwise(widths))[::-1]
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairs)
        self.up = nn.ModuleList(ConvBlock(2 * a, a) for a, _ in pairs)
        # Synthesised RGB, mask logits, residual flow.
        self.exit = nn.Conv2d(widths[0], 2 * self.block_channels + 2, 3, padding=1)
        nn.init.normal_(self.exit.weight, std=1e-3)
        # Masks start near the warped layer, with none of the layers switched off.
        logits = torch.tensor([-0.5, 1.0, -1.0]).repeat_interleave(config.block**2)
        self.exit.bias = nn.Parameter(torch.cat([torch.zeros(self.block_channels), logits, torch.zeros(2)]))

    @property
    def side(self) -> int:
        """Grid cells of the U-Net along a side of the crop."""
        return CROP // self.config.block

    def prepare(
        self, picture: Tensor, landmarks: Tensor, motion: Tensor, appearance: Tensor, teeth: bool = True
    ) -> Prepared:
        """Picture [B,3,256,256] in [-1,1], landmarks [B,N,3] in crop widths, motion [B,M], appearance [B,D] -> what is
        computed once per portrait; teeth: also those that the decoder
        lays into an open mouth by itself."""
        contours = rasterise(landmarks.float(), CONTOURS, self.side)
        inner_lips = self._inner_lips(landmarks, contours)
        projection = self._project(None, torch.cat([to_cells(picture, self.config.block), contours], 1))
        projection = projection.contiguous(memory_format=torch.channels_last)
        drawn = upper_teeth(picture, landmarks) if teeth else None
        return Prepared(picture, landmarks, motion, appearance, contours, inner_lips, projection, drawn)

    def _inner_lips(self, landmarks: Tensor, contours: Tensor) -> Tensor:
        """The contour map of the inner lips on at least MIN_LIP_CELLS cells a side; contours: maps of all contours."""
        if self.side >= MIN_LIP_CELLS:
            return contours[:, 1:2]
        return rasterise(landmarks.float(), (INNER_LIPS,), MIN_LIP_CELLS)

    def layers(self, prepared: Prepared, landmarks: Tensor, motion: Tensor) -> Layers:
        """Target landmarks [B,N,3] (from `MotionSpace.landmarks`) and motion [B,M] -> the layers of B frames."""
        source = prepared.landmarks.expand(len(motion), -1, -1)
        flow = landmark_flow(source, landmarks, self.config.grid, self.config.smoothing)
        return self.refine(prepared, landmarks, motion, flow)

    def refine(
        self, prepared: Prepared, landmarks: Tensor, motion: Tensor, coarse: Tensor, irises: Irises | None = None
    ) -> Layers:
        """The learned step: coarse flow [B,2,g,g] -> the layers of B frames.

        landmarks [B,N,3], motion [B,M] and irises of the target.
        """
        count, block = len(motion), self.config.block
        size = max(self.side, MIN_LIP_CELLS)  # cells a side of the finest maps
        factor = CROP // size
        picture, source_lips = (x.expand(count, -1, -1, -1) for x in (prepared.picture, prepared.inner_lips))
        pair = torch.stack([prepared.landmarks.expand(count, -1, -1), landmarks], 1)[..., :2].float()
        contours = rasterise(landmarks.float(), CONTOURS, self.side)
        window = _Window(landmarks[:, list(INNER_LIPS)], size)
        skull = window.cut(rigid_flow(pair[:, 0], pair[:, 1], size))
        lips = window.cut(self._inner_lips(landmarks, contours))
        shown = lips * warp(source_lips, skull, window.box(1))  # between the lips in target and portrait
        flow = resize(coarse, (size, size))
        # What the portrait shows between its lips moves with the skull and does not stretch with the lips.
        flow = flow + window.pad(shown * (skull - window.cut(flow)))
        full_flow = resize(flow, (CROP, CROP))
        cell_flow = F.avg_pool2d(flow, size // self.side) if size > self.side else flow
        warped = warp_eyelids(picture, warp(picture, full_flow), pair, irises=irises)
        x = torch.cat([to_cells(warped, block), cell_flow * 10, fold_mask(cell_flow), contours], 1)
        source_code = _motion_features(prepared.motion).expand(count, -1)
        codes = torch.cat([prepared.appearance.expand(count, -1), _motion_features(motion), source_code], 1)
        output = self._unet(channels_last(x), prepared.projection, codes)
        output = output.float()
        opened = window.enlarge(lips - shown, factor)  # what the portrait does not show, in the window of the crop
        opened_crop = window.pad(opened, factor)
        synthesised, logits = from_cells(output[:, :-2], block).split(3, 1)
        synthesised = torch.tanh(synthesised - MOUTH_SHADOW * opened_crop)
        if prepared.teeth is not None:
            teeth = warp(prepared.teeth.expand(count, -1, -1, -1), window.enlarge(skull, factor), window.box(factor))
            mask = opened * teeth[:, 3:]
            synthesised = synthesised + window.pad(mask * (teeth[:, :3] - window.cut(synthesised, factor)), factor)
        masks = torch.cat([logits[:, :2], logits[:, 2:] + MOUTH_LOGIT * opened_crop], 1).softmax(1)
        residual = self.config.max_residual * torch.tanh(output[:, -2:].contiguous())
        masks, synthesised = _smooth(torch.cat([masks, synthesised], 1)).split(3, 1)
        look = None
        if irises is not None:  # eyes that look elsewhere are the warped portrait's alone
            look = Look(irises, moved_eyes(irises, pair[:, 0], contours[:, 2:]))
            masks = masks * (1 - look.eyes)
            masks[:, 1:2] += look.eyes
        return Layers(full_flow + resize(residual, (CROP, CROP)), masks, synthesised, pair, look=look)

    def _project(self, frame: Tensor | None, portrait: Tensor) -> Tensor:
        """The input projection, which is a sum over input channels, of some of its channels.

        frame None: of the portrait's channels [1,16,n,n], once. Otherwise: of a frame's channels [B,.,n,n], with the
        portrait's result [1,24,n,n] added.
        """
        weight, channels, contours = self.entry.weight, self.block_channels, len(CONTOURS)
        if frame is None:
            weight = torch.cat([weight[:, channels : 2 * channels], weight[:, -contours:]], 1)
            return F.conv2d(portrait, weight, self.entry.bias, padding=1)
        weight = torch.cat([weight[:, :channels], weight[:, 2 * channels : -contours]], 1)
        frame = frame.to(weight.dtype, memory_format=torch.channels_last)
        projection = F.conv2d(frame, weight, padding=1)
        return projection + portrait.to(projection.dtype)

    def _unet(self, x: Tensor, projection: Tensor, codes: Tensor) -> Tensor:
        """A frame's channels [B,.,n,n], the portrait's projection [1,24,n,n], codes [B,.] -> output maps [B,.,n,n]."""
        return (in_bfloat16(self) if converts(x) else self)._network(x, projection, codes)

    def _network(self, x: Tensor, projection: Tensor, codes: Tensor) -> Tensor:
        skips = [self._project(x, projection)]
        for down in self.down:
            skips.append(down(skips[-1]))
        scale, shift = self.modulate(codes.to(x.dtype))[..., None, None].chunk(2, 1)
        x = self.middle(skips.pop() * (1 + scale) + shift)
        for narrow, up in zip(self.narrow, self.up, strict=True):
            skip = skips.pop()
            x = up(torch.cat([F.interpolate(narrow(x), scale_factor=2.0, mode="nearest"), skip], 1))
        return self.exit(x)


class _Window:
    """The bounding box of landmarks [B,P,>=2] on a grid of size x size cells, wider by two cells.

    What the landmarks bound ends within it, so a map of it can be resized on its own. `factor`: the same box in a map
    that is `factor` times as large.
    """

    def __init__(self, points: Tensor, size: int) -> None:
        self.size, self.spans = size, [(0, size), (0, size)]  # rows, columns
        if points.device.type == "cpu":  # on other devices, reading a box would synchronise with the host
            cells = points[..., :2].detach() * size
            low, high = (ends.clamp(0, size).tolist() for ends in (cells.amin((0, 1)) - 2, cells.amax((0, 1)) + 3))
            self.spans = [(min(int(a), size - 1), max(int(b), 1)) for a, b in zip(low[::-1], high[::-1], strict=True)]

    def box(self, factor: int = 1) -> tuple[slice, slice]:
        """Its rows and columns."""
        (top, bottom), (left, right) = self.spans
        return slice(factor * top, factor * bottom), slice(factor * left, factor * right)

    def cut(self, field: Tensor, factor: int = 1) -> Tensor:
        """The window of [B,C,H,W]."""
        rows, columns = self.box(factor)
        return field[:, :, rows, columns]

    def pad(self, content: Tensor, factor: int = 1) -> Tensor:
        """The inverse of `cut`, zeros around the window."""
        (top, bottom), (left, right) = self.spans
        return F.pad(content, [factor * width for width in (left, self.size - right, top, self.size - bottom)])

    def enlarge(self, content: Tensor, factor: int) -> Tensor:
        """A map of the window, `factor` times as large."""
        return resize(content, (factor * content.shape[-2], factor * content.shape[-1]))


def _smooth(fields: Tensor) -> Tensor:
    """Binomial 3x3 filter, borders replicated: removes the two-pixel pattern that `from_cells` leaves."""
    if is_on_host(fields):
        planes = fields.flatten(0, 1).numpy()
        smooth = [cv2.GaussianBlur(plane, (3, 3), 0, borderType=cv2.BORDER_REPLICATE) for plane in planes]
        return torch.from_numpy(np.stack(smooth)).view_as(fields)
    p = F.pad(fields, (1, 1, 1, 1), "replicate")
    p = torch.add(p[:, :, :-2], p[:, :, 1:-1], alpha=2).add_(p[:, :, 2:])
    return torch.add(p[..., :-2], p[..., 1:-1], alpha=2).add_(p[..., 2:]).mul_(1 / 16)


def _motion_features(motion: Tensor) -> Tensor:
    """Motion [B,M] with its position in the picture set to 0, times 5, so that angles and expression have order 1."""
    return torch.cat([motion[..., :3], motion[..., 3:POSE_SIZE] * 0, motion[..., POSE_SIZE:]], -1) * 5
