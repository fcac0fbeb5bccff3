"""Decoder: portrait, its landmarks and a motion code -> one face frame, by warping the portrait and drawing the rest.

Letters: B frames, M = 20 motion, N = 468 landmarks, D appearance code. Pictures are [B,3,256,256] in [-1,1]; the
U-Net works at n = 128, where every place holds 2x2 pixels (space to depth).

A frame is three layers under soft masks that add up to one: the portrait at rest (background), the portrait warped by
the landmark flow plus a learned residual flow, and synthesised pixels (mouth interior, lids, what was hidden). The
first two are resampled from the original picture at any resolution: sharpness comes from the user's own pixels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import CROP, POSE_SIZE, DecoderConfig
from anitalker.decoder.eyelids import warp_eyelids
from anitalker.decoder.flow import fold_mask, landmark_flow, resize, rigid_flow, warp
from anitalker.decoder.teeth import upper_teeth
from anitalker.faces.landmarks import INNER_LIPS, LEFT_EYE, OUTER_LIPS, RIGHT_EYE, rasterise

Unet = Callable[[Tensor, Tensor, Tensor], Tensor]  # what changes, what the portrait brings, codes -> its planes
DRAWN = (OUTER_LIPS, INNER_LIPS, RIGHT_EYE, LEFT_EYE)
PLANES = 2 + 1 + 2 * len(DRAWN)  # beside the pixels: flow, folds, rings of target and portrait
# Added to the synthesised layer's logit inside the drawn lips where, seen from the skull, the portrait shows no mouth.
OPENING = 8.0
MOUTH = 128  # places along a side in which lips are drawn at least: in coarser ones a narrow opening would be lost
DARK = 1.0  # and there the pixels begin this much darker, before tanh: the inside of a mouth is dark


@dataclass(frozen=True)
class Prepared:
    """What is done once per portrait. picture [1,3,256,256], landmarks [1,N,3], motion [1,M], appearance [1,D],
    rings [1,4,n,n], mouth [1,1,m,m] (the inner lips again, in MOUTH places where n are fewer), entry [1,24,n,n] (what
    picture and rings bring to the U-Net's first convolution), teeth [1,4,256,256] of `upper_teeth`."""

    picture: Tensor
    landmarks: Tensor
    motion: Tensor
    appearance: Tensor
    rings: Tensor
    mouth: Tensor
    entry: Tensor
    teeth: Tensor


@dataclass(frozen=True)
class Layers:
    """What makes a frame: flow [B,2,256,256] in crop widths, masks [B,3,256,256] (rest, warped, synthesised; sum 1),
    pixels [B,3,256,256] synthesised, marks [B,2,N,2] landmarks of portrait and target, whose lids are drawn at any
    resolution; None: by the flow alone."""

    flow: Tensor
    masks: Tensor
    pixels: Tensor
    marks: Tensor | None = None

    def __getitem__(self, part: slice) -> Layers:
        """Some of the frames."""
        return Layers(*(None if one is None else one[part] for one in vars(self).values()))


class _Block(nn.Module):
    """Two 3x3 convolutions with group normalisation; residual where the width stays."""

    def __init__(self, inside: int, outside: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, stride, 1)
        self.norm = nn.GroupNorm(8, outside)
        self.second = nn.Conv2d(outside, outside, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        # An odd number of channels in a group takes torch seven times as long in bfloat16 as in float32.
        odd = self.norm.num_channels // self.norm.num_groups % 2
        x = F.silu(self.norm(x.float() if odd else x)).to(x.dtype)
        return x + F.silu(self.second(x))


class Decoder(nn.Module):
    """The `lite` decoder: landmark flow and a small U-Net."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        widths, self.colours = config.channels, 3 * config.block**2  # colours of one place
        self.entry = nn.Conv2d(2 * self.colours + PLANES, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_Block(a, b, 2) for a, b in pairwise(widths))
        self.modulate = nn.Linear(config.code_size + 2 * config.motion_size, 2 * widths[-1])
        self.middle = _Block(widths[-1], widths[-1])
        pairs = list(pairwise(widths))[::-1]
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairs)
        self.up = nn.ModuleList(_Block(2 * a, a) for a, _ in pairs)
        self.exit = nn.Conv2d(widths[0], 2 * self.colours + 2, 3, padding=1)  # pixels, mask logits, residual flow
        nn.init.normal_(self.exit.weight, std=1e-3)
        layers = torch.tensor([-0.5, 1.0, -1.0]).repeat_interleave(config.block**2)  # near the warped one, none shut
        self.exit.bias.data.copy_(torch.cat([torch.zeros(self.colours), layers, torch.zeros(2)]))
        self._cast: tuple[list, Decoder] | None = None

    @property
    def side(self) -> int:
        """Places of the U-Net along a side of the crop."""
        return CROP // self.config.block

    def prepare(self, picture: Tensor, landmarks: Tensor, motion: Tensor, appearance: Tensor) -> Prepared:
        """Once per portrait: [B,3,256,256], [B,N,3] in crop widths, [B,M], [B,D]."""
        rings = rasterise(landmarks.float(), DRAWN, self.side)
        teeth = upper_teeth(picture, landmarks)
        entry = self._entry(None, torch.cat([_unshuffle(picture, self.config.block), rings], 1))
        entry = entry.contiguous(memory_format=torch.channels_last)
        return Prepared(picture, landmarks, motion, appearance, rings, self._mouth(landmarks, rings), entry, teeth)

    def _mouth(self, landmarks: Tensor, rings: Tensor) -> Tensor:
        """The ring of the inner lips of landmarks whose `rings` are drawn, in at least MOUTH places."""
        return rings[:, 1:2] if self.side >= MOUTH else rasterise(landmarks.float(), (INNER_LIPS,), MOUTH)

    def frames(self, prepared: Prepared, landmarks: Tensor, motion: Tensor) -> Layers:
        """Target landmarks [B,N,3] (of `MotionSpace.landmarks`) and motion [B,M] -> Layers."""
        count = len(motion)
        flow = landmark_flow(
            prepared.landmarks.expand(count, -1, -1), landmarks, self.config.grid, self.config.smoothing
        )
        return self.refine(prepared, landmarks, motion, flow)

    def refine(
        self, prepared: Prepared, landmarks: Tensor, motion: Tensor, coarse: Tensor, unet: Unet | None = None
    ) -> Layers:
        """The learned part: coarse flow [B,2,g,g] -> Layers. unet: runs in place of `_unet`, a CUDA graph of it."""
        count, block = len(motion), self.config.block
        fine = max(self.side, MOUTH)
        by = CROP // fine
        picture, still = (part.expand(count, -1, -1, -1) for part in (prepared.picture, prepared.mouth))
        marks = torch.stack([prepared.landmarks.expand(count, -1, -1), landmarks], 1)[..., :2].float()
        rings = rasterise(landmarks.float(), DRAWN, self.side)
        lips = _Window(landmarks[:, list(INNER_LIPS)], fine)
        skull, mouth = lips.cut(rigid_flow(marks[:, 0], marks[:, 1], fine)), lips.cut(self._mouth(landmarks, rings))
        teeth = mouth * warp(still, skull, lips.box(1))
        flow = resize(coarse, (fine, fine))
        # What the portrait shows between its lips does not stretch with them.
        flow = flow + lips.spread(teeth * (skull - lips.cut(flow)))
        wide, places = resize(flow, (CROP, CROP)), F.avg_pool2d(flow, fine // self.side) if fine > self.side else flow
        warped = warp_eyelids(picture, warp(picture, wide), marks)
        x = torch.cat([_unshuffle(warped, block), places * 10, fold_mask(places), rings], 1)
        codes = torch.cat(
            [prepared.appearance.expand(count, -1), _code(motion), _code(prepared.motion).expand(count, -1)], 1
        )
        out = (unet or self._unet)(x, prepared.entry, codes).to(torch.float32, memory_format=torch.contiguous_format)
        fresh = lips.enlarge(mouth - teeth, by)  # in their window of the crop
        shadow = lips.spread(fresh, by)
        pixels, logits = _shuffle(out[:, :-2], block).split(3, 1)
        pixels = _tanh(pixels - DARK * shadow)
        hidden = warp(prepared.teeth.expand(count, -1, -1, -1), lips.enlarge(skull, by), lips.box(by))
        cover = fresh * hidden[:, 3:]
        pixels = pixels + lips.spread(cover * (hidden[:, :3] - lips.cut(pixels, by)), by)
        masks = torch.cat([logits[:, :2], logits[:, 2:] + OPENING * shadow], 1).softmax(1)
        residual = self.config.max_residual * torch.tanh(out[:, -2:])
        masks, pixels = _smooth(torch.cat([masks, pixels], 1)).split(3, 1)
        return Layers(wide + resize(residual, (CROP, CROP)), masks, pixels, marks)

    def _entry(self, changing: Tensor | None, still: Tensor) -> Tensor:
        """The first convolution, which is a sum over its inputs, of one part of them: of the portrait alone, done once
        (changing: None, still [1,16,n,n]), or of what changes from frame to frame, with that result added."""
        weight, colours, planes = self.entry.weight, self.colours, len(DRAWN)
        if changing is None:
            weight = torch.cat([weight[:, colours : 2 * colours], weight[:, -planes:]], 1)
            return F.conv2d(still, weight, self.entry.bias, padding=1)
        weight = torch.cat([weight[:, :colours], weight[:, 2 * colours : -planes]], 1)
        changing = changing.to(weight.dtype, memory_format=torch.channels_last)
        seen = F.conv2d(changing, weight, padding=1)
        return seen + still.to(seen.dtype)

    def _unet(self, x: Tensor, still: Tensor, codes: Tensor) -> Tensor:
        """What changes [B,.,n,n], what the portrait brings, codes [B,.] -> the planes of `exit`."""
        on_processor = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        cast = on_processor and torch.get_autocast_dtype("cpu") == torch.bfloat16 and not torch.is_grad_enabled()
        return (self._in_bfloat16() if cast else self)._network(x, still, codes)

    def _in_bfloat16(self) -> Decoder:
        """Itself with its products' weights in bfloat16, kept: autocast would cast each of them for every frame."""
        state = [(p.data_ptr(), 0 if p.is_inference() else p._version) for p in self.parameters()]
        kept = self._cast
        if kept is None or kept[0] != state:  # the first time, and when weights were changed since
            network = copy.deepcopy(self)
            network._cast = None
            for layer in network.modules():
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    layer.to(torch.bfloat16, memory_format=torch.channels_last)
            kept = self._cast = state, network
        return kept[1]

    def _network(self, x: Tensor, still: Tensor, codes: Tensor) -> Tensor:
        skips = [self._entry(x, still)]
        for down in self.down:
            skips.append(down(skips[-1]))
        scale, shift = self.modulate(codes.to(x.dtype))[..., None, None].chunk(2, 1)
        x = self.middle(skips.pop() * (1 + scale) + shift)
        for narrow, up in zip(self.narrow, self.up, strict=True):
            skip = skips.pop()
            x = up(torch.cat([F.interpolate(narrow(x), scale_factor=2.0, mode="nearest"), skip], 1))
        return self.exit(x)


class _Window:
    """The box of some landmarks [B,P,>=2] among side x side places, two wider: what they bound ends within it, so that
    it can be resized by itself. `by`: the same box in a picture `by` times as large."""

    def __init__(self, points: Tensor, side: int) -> None:
        self.side, self.spans = side, [(0, side), (0, side)]  # rows, columns
        if points.device.type == "cpu":  # elsewhere finding a box would make the device wait
            places = points[..., :2].detach() * side
            low, high = (ends.clamp(0, side).tolist() for ends in (places.amin((0, 1)) - 2, places.amax((0, 1)) + 3))
            self.spans = [(min(int(a), side - 1), max(int(b), 1)) for a, b in zip(low[::-1], high[::-1], strict=True)]

    def box(self, by: int = 1) -> tuple[slice, slice]:
        """Its rows and columns."""
        return tuple(slice(by * start, by * end) for start, end in self.spans)

    def cut(self, field: Tensor, by: int = 1) -> Tensor:
        """What of [B,C,H,W] lies in it."""
        rows, columns = self.box(by)
        return field[:, :, rows, columns]

    def spread(self, part: Tensor, by: int = 1) -> Tensor:
        """The inverse, nothing around it."""
        (top, bottom), (left, right) = self.spans
        return F.pad(part, [by * room for room in (left, self.side - right, top, self.side - bottom)])

    def enlarge(self, part: Tensor, by: int) -> Tensor:
        """Its content for a picture `by` times as large."""
        return resize(part, (by * part.shape[-2], by * part.shape[-1]))


def _shuffle(places: Tensor, block: int) -> Tensor:
    """`pixel_shuffle` of [B,C block^2,n,n] -> [B,C,n block,n block], as one copy: less than half of torch's time."""
    parts = places.unflatten(1, (-1, block, block)).permute(0, 1, 4, 2, 5, 3)  # [B,C,n,block,n,block]
    return parts.reshape(*parts.shape[:2], parts.shape[2] * block, parts.shape[4] * block)


def _unshuffle(pixels: Tensor, block: int) -> Tensor:
    """The inverse, `pixel_unshuffle`, a third of its time."""
    parts = pixels.unflatten(3, (-1, block)).unflatten(2, (-1, block)).permute(0, 1, 3, 5, 2, 4)
    return parts.flatten(1, 3)


def _tanh(x: Tensor) -> Tensor:
    """tanh as torch is quickest at it on processors: by sigmoid, a tenth of the time, within 3e-7."""
    return torch.sigmoid(2 * x) * 2 - 1


def _smooth(fields: Tensor) -> Tensor:
    """Binomial 3x3: takes away the pattern of two pixels that the shuffle of blocks leaves."""
    p = F.pad(fields, (1, 1, 1, 1), "replicate")
    p = torch.add(p[:, :, :-2], p[:, :, 1:-1], alpha=2).add_(p[:, :, 2:])
    return torch.add(p[..., :-2], p[..., 1:-1], alpha=2).add_(p[..., 2:]).mul_(1 / 16)


def _code(motion: Tensor) -> Tensor:
    """Motion without its place in the picture, of order one: angles and expression times 5."""
    return torch.cat([motion[..., :3], motion[..., 3:POSE_SIZE] * 0, motion[..., POSE_SIZE:]], -1) * 5


def compose(picture: Tensor, layers: Layers) -> Tensor:
    """Original crop region [1 or B,3,H,W] in [-1,1] at any resolution, and Layers -> frames [B,3,H,W] in [-1,1]."""
    size = tuple(picture.shape[-2:])
    picture = picture.expand(len(layers.flow), -1, -1, -1)
    warped, drawn = resize(layers.masks[:, 1:], size).split(1, 1)  # the masks' sum is one
    moved = warp(picture, resize(layers.flow, size))
    moved = moved if layers.marks is None else warp_eyelids(picture, moved, layers.marks)
    return blend(picture, moved, warped, drawn, resize(layers.pixels, size))


def blend(picture: Tensor, moved: Tensor, warped: Tensor, drawn: Tensor, pixels: Tensor) -> Tensor:
    """Three layers [.,3,H,W] under the masks [.,1,H,W] of the second and the third -> frames."""
    return torch.addcmul(picture, warped, moved - picture).addcmul(drawn, pixels - picture)
