"""The original's stage-one decoder: image code + motion code -> style -> flow and mask per resolution -> face frame.

Letters: B frames, S = 512 width of the latent, M = 20 motion numbers, C channels, n pixels (8 ... 256), W sum of the
channels of all modulated layers. After LIA (Wang et al. 2022) on StyleGAN2's layers (Karras et al. 2020); attribute
names are those of the published checkpoints.

A portrait's features are never changed, only resampled: at every resolution a flow and a mask are drawn, the features
under the mask come from the portrait, and so does the colour. What makes it quick, all exact:
* Modulation multiplies activations and demodulation the convolution's output, so a batch is one convolution.
* The style of a layer is affine in the motion code: A (code + Q motion) + b = (A code + b) + (A Q) motion. The first
  part is known per portrait, A Q per model.
* Sampling and the colour's 1x1 convolution commute, so colour is convolved once per portrait and sampled as 3 channels.
* A sample is a weighted sum of four rows of a table [n n, C], the mask among the weights.
Flow, sampling positions, colour and Q are float32 whatever the format of the features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import StageOneConfig
from encoders.equalized import SLOPE, Activation, EqualConv2d, EqualLinear, binomial, depthwise, double

EXACT = 16  # pixels: maps up to here stay float32; they cost a twelfth, and their errors reach every pixel (3 dB)
EPSILON = 1e-8  # in the demodulation, and added to the directions before they are made orthonormal


class _Modulated(nn.Module):
    """Weight [1,outside,inside,k,k] of a convolution whose input channels a style scales."""

    def __init__(self, inside: int, outside: int, size: int, style: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outside, inside, size, size))
        self.modulation = EqualLinear(style, inside, bias=1.0)

    def scaled(self) -> Tensor:
        return self.weight[0] / math.sqrt(self.weight[0, 0].numel())


class _Styled(nn.Module):
    def __init__(self, inside: int, outside: int, style: int) -> None:
        super().__init__()
        self.conv, self.activate = _Modulated(inside, outside, 3, style), Activation(outside)


class _Flow(nn.Module):
    def __init__(self, inside: int, style: int) -> None:
        super().__init__()
        self.conv, self.bias = _Modulated(inside, 3, 1, style), nn.Parameter(torch.zeros(1, 3, 1, 1))


class _Colour(nn.Module):
    def __init__(self, inside: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(EqualConv2d(inside, 3, 1), Activation(3))
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))


class _Holder(nn.Module):
    """One parameter under a name of its own."""

    def __init__(self, **parameter: Tensor) -> None:
        super().__init__()
        for name, value in parameter.items():
            self.register_parameter(name, nn.Parameter(value))


@dataclass(frozen=True)
class Layer:
    """One styled convolution, ready: weight in the format of the features ([outside,inside,3,3]; [inside,outside,3,3]
    with `blur` [outside,1,4,4] where it doubles the size), energy [inside,outside] (squares summed over the taps) and
    bias [outside], both float32."""

    weight: Tensor
    energy: Tensor
    bias: Tensor
    blur: Tensor | None


@dataclass(frozen=True)
class Level:
    """One resolution: two styled convolutions; flow weight [3,C] and bias [3]; the colour layer; grid [n,n,2]."""

    up: Layer
    flat: Layer
    flow_weight: Tensor
    flow_bias: Tensor
    colour: _Colour
    grid: Tensor


@dataclass(frozen=True)
class Constants:
    """Once per model: directions [S,M], affine of all styles (weight [W,S], bias [W]; turn [W,M] = weight directions),
    their widths, the constant input [1,C,4,4] and the layers."""

    directions: Tensor
    style_weight: Tensor
    style_bias: Tensor
    turn: Tensor
    widths: tuple[int, ...]
    entry: Tensor
    first: Layer
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class Ready:
    """Once per portrait: style [1,W] without motion; per level the skip as a table [n n, C] (the last has none) and
    its colour [1,3,n,n]."""

    style: Tensor
    tables: tuple[Tensor, ...]
    colours: tuple[Tensor, ...]


@dataclass(frozen=True)
class Drawn:
    """Frames [B,3,n,n], about -1..1 and not clamped; raw flows [B,3,n,n] per level: x, y, mask before tanh, sigmoid."""

    pictures: Tensor
    flows: tuple[Tensor, ...]


class StyledDecoder(nn.Module):
    """The parameters, and what is made of them: `constants` once, `prepare` per portrait, `draw` per batch."""

    def __init__(self, config: StageOneConfig) -> None:
        super().__init__()
        style, channels = config.style, config.channels
        self.direction = _Holder(weight=torch.randn(style, config.motion))
        self.input = _Holder(input=torch.randn(1, channels[0], 4, 4))
        self.conv1 = _Styled(channels[0], channels[0], style)
        self.convs, self.to_flows, self.to_rgbs = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for inside, outside in pairwise(channels):
            self.convs.extend([_Styled(inside, outside, style), _Styled(outside, outside, style)])
            self.to_flows.append(_Flow(outside, style))
            self.to_rgbs.append(_Colour(outside))

    def directions(self) -> Tensor:
        """The orthonormal directions [S,M]. Their signs are those of Householder QR, which the weights were trained
        with: computed on the CPU, because other devices may choose others."""
        return torch.linalg.qr(self.direction.weight.float().cpu() + EPSILON)[0].to(self.direction.weight.device)

    @torch.no_grad()
    def constants(self, dtype: torch.dtype = torch.float32) -> Constants:
        """What depends on the weights alone; dtype: float32 or bfloat16, the format of features and convolutions above
        EXACT pixels."""
        modulated = [self.conv1.conv]
        for index, flow in enumerate(self.to_flows):
            modulated += [self.convs[2 * index].conv, self.convs[2 * index + 1].conv, flow.conv]
        weight = torch.cat([one.modulation.scaled() for one in modulated])
        bias = torch.cat([one.modulation.bias for one in modulated])
        directions = self.directions()
        levels = tuple(self._level(index, dtype) for index in range(len(self.to_flows)))
        widths = tuple(one.modulation.bias.numel() for one in modulated)
        first = _layer(self.conv1, torch.float32)
        return Constants(directions, weight, bias, weight @ directions, widths, self.input.input, first, levels)

    def _level(self, index: int, dtype: torch.dtype) -> Level:
        flow, device, n = self.to_flows[index], self.direction.weight.device, 8 * 2**index
        dtype = torch.float32 if n <= EXACT else dtype
        axis = torch.linspace(-1, 1, n, device=device)
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1], -1)
        up, flat = (_layer(self.convs[2 * index + i], dtype, doubles=i == 0) for i in (0, 1))
        return Level(up, flat, flow.conv.scaled()[..., 0, 0], flow.bias.flatten(), self.to_rgbs[index], grid)

    @torch.no_grad()
    def prepare(self, constants: Constants, image_code: Tensor, skips: tuple[Tensor, ...]) -> Ready:
        """A portrait's image code [1,S] and skips [1,C,n,n] from 8x8 up -> what frames are made of."""
        style = F.linear(image_code, constants.style_weight, constants.style_bias)
        pairs = list(zip(constants.levels, skips, strict=True))
        tables = [skip[0].flatten(1).T.to(level.flat.weight.dtype).contiguous() for level, skip in pairs[:-1]]
        return Ready(style, tuple(tables), tuple(level.colour.conv[0](skip).contiguous() for level, skip in pairs))

    @torch.no_grad()
    def draw(self, constants: Constants, ready: Ready, motion: Tensor) -> Drawn:
        """Frames of one portrait under motion [B,M]; rows do not depend on each other."""
        styles = (ready.style + motion @ constants.turn.T).split(constants.widths, 1)
        x = constants.entry.expand(len(motion), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        x = _styled(constants.first, x, styles[0])
        flow = picture = None
        flows = []
        for index, level in enumerate(constants.levels):
            up, flat, own = styles[1 + 3 * index : 4 + 3 * index]
            x = _styled(level.flat, _styled(level.up, x, up), flat)
            flow = _flow(level, x, own, flow)
            place, mask = level.grid + flow[:, :2].tanh().permute(0, 2, 3, 1), flow[:, 2].sigmoid()
            if index < len(ready.tables):
                warped = _sample(ready.tables[index], place, mask).permute(0, 3, 1, 2)
                x = torch.addcmul(warped, x, (1 - mask)[:, None].to(x.dtype))
            picture = _colour(level, ready.colours[index], place, mask, picture)
            flows.append(flow)
        return Drawn(picture, tuple(flows))


def _layer(module: _Styled, dtype: torch.dtype, doubles: bool = False) -> Layer:
    weight = module.conv.scaled()
    energy = weight.square().sum((2, 3)).T.contiguous()
    bias, blur = module.activate.bias.flatten(), None
    if doubles:
        blur = depthwise(binomial(4.0), len(weight)).to(weight.device, dtype)
        weight = weight.transpose(0, 1)
    return Layer(weight.to(dtype).contiguous(memory_format=torch.channels_last), energy, bias, blur)


def _styled(layer: Layer, x: Tensor, style: Tensor) -> Tensor:
    """Features [B,inside,n,n], style [B,inside] -> [B,outside,n or 2n,...]: convolution, demodulation, activation."""
    x = (x * style[..., None, None].to(x.dtype)).to(layer.weight.dtype)
    if layer.blur is None:
        x = F.conv2d(x, layer.weight, padding=1)
    else:
        x = F.conv2d(F.conv_transpose2d(x, layer.weight, stride=2), layer.blur, padding=1, groups=len(layer.blur))
    # sqrt 2 of the activation is moved before the leaky ReLU, which is linear for positive factors.
    scale = math.sqrt(2) * (style.square() @ layer.energy + EPSILON).rsqrt()
    bias = math.sqrt(2) * layer.bias
    x = torch.addcmul(bias[:, None, None].to(x.dtype), x, scale[..., None, None].to(x.dtype))
    return F.leaky_relu_(x, SLOPE)


def _flow(level: Level, x: Tensor, style: Tensor, before: Tensor | None) -> Tensor:
    """Modulated 1x1 convolution to x, y and mask, in float32, and the doubled raw flow of the level before."""
    places = x.permute(0, 2, 3, 1).flatten(1, 2).float()  # [B,n n,C]
    drawn = places @ (level.flow_weight * style[:, None]).transpose(1, 2) + level.flow_bias
    flow = drawn.transpose(1, 2).unflatten(2, x.shape[2:])
    return flow if before is None else flow + double(before)


def _colour(level: Level, colour: Tensor, place: Tensor, mask: Tensor, before: Tensor | None) -> Tensor:
    """The portrait's colour [1,3,n,n] where `place` points, under the mask, and the doubled picture before it."""
    sampled = F.grid_sample(colour.expand(len(place), -1, -1, -1), place, align_corners=False)
    picture = level.colour.conv[1](sampled * mask[:, None]) + level.colour.bias
    return picture if before is None else picture + double(before)


def _sample(table: Tensor, place: Tensor, mask: Tensor) -> Tensor:
    """Bilinear samples of a map given as rows [n n, C], zeros outside, times mask [B,n,n] -> [B,n,n,C].

    place [B,n,n,2] (x, y) as F.grid_sample's with align_corners false: -1 and 1 are the outer borders of the pixels.
    """
    n = place.shape[1]
    at = ((place + 1) * n - 1) / 2
    corner = at.floor()
    part = at - corner
    cells = torch.stack([corner, corner + 1])  # [2,B,n,n,2]
    weights = torch.stack([1 - part, part]) * ((cells >= 0) & (cells < n))
    cells = cells.clamp(0, n - 1).long()
    rows = (cells[:, None, ..., 1] * n + cells[None, :, ..., 0]).flatten(0, 1)  # [4,B,n,n]
    shares = (weights[:, None, ..., 1] * weights[None, :, ..., 0]).flatten(0, 1) * mask
    rows, shares = rows.flatten(1).T.contiguous(), shares.flatten(1).T.contiguous()
    taken = F.embedding_bag(rows, table, mode="sum", per_sample_weights=shares.to(table.dtype))
    return taken.unflatten(0, mask.shape)
