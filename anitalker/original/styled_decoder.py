"""The original's stage-one decoder: image code + motion code -> style -> flow and mask per resolution -> face frame.

Letters: B frames, S = 512 width of the latent, M = 20 motion numbers, C channels, n pixels (8 ... 256), W sum of the
channels of all modulated layers. After LIA (Wang et al. 2022) on StyleGAN2's layers (Karras et al. 2020); attribute
names are those of the published checkpoints.

The portrait's features are only resampled, never changed. At each resolution a flow and a mask are predicted; the
features and the colour under the mask come from the portrait. These steps save time and are all exact:
* Modulation multiplies activations and demodulation the convolution's output, so a batch is one convolution.
* The style of a layer is affine in the motion code: A (code + Q motion) + b = (A code + b) + (A Q) motion. The first
  term is computed once per portrait, A Q once per model.
* Sampling and the colour's 1x1 convolution commute, so colour is convolved once per portrait and sampled as 3 channels.
* A sample is a weighted sum of four rows of a table [n n, C]; the weights include the mask.
Flow, sampling positions, colour and Q are float32, whatever the dtype of the features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.network_config import StageOneConfig
from encoders.equalized import SLOPE, Activation, EqualConv2d, EqualLinear, binomial, depthwise, double

FLOAT32_SIZE = 16  # pixels: maps up to this size stay float32; they take a twelfth of the time, and their errors reach
# every pixel (3 dB)
EPSILON = 1e-8  # in the demodulation, and added to the directions before QR


class _Modulated(nn.Module):
    """Weight [1,outputs,inputs,k,k] of a convolution whose input channels are scaled by a style."""

    def __init__(self, inputs: int, outputs: int, size: int, style: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, size, size))
        self.modulation = EqualLinear(style, inputs, bias=1.0)

    def scaled(self) -> Tensor:
        """The weight over the root of its fan-in, [outputs,inputs,k,k]."""
        return self.weight[0] / math.sqrt(self.weight[0, 0].numel())


class _Styled(nn.Module):
    """Parameters of a modulated 3x3 convolution with its activation."""

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.conv, self.activate = _Modulated(inputs, outputs, 3, style), Activation(outputs)


class _Flow(nn.Module):
    """Parameters of the layer that predicts flow and mask."""

    def __init__(self, inputs: int, style: int) -> None:
        super().__init__()
        self.conv, self.bias = _Modulated(inputs, 3, 1, style), nn.Parameter(torch.zeros(1, 3, 1, 1))


class _Colour(nn.Module):
    """Parameters of the layer that turns features into colour."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(EqualConv2d(inputs, 3, 1), Activation(3))
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))


class _Directions(nn.Module):
    """The directions of motion before QR, weight [style,motion]."""

    def __init__(self, style: int, motion: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(style, motion))


class _ConstantInput(nn.Module):
    """The learned constant that the decoder starts from, input [1,channels,4,4]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


@dataclass(frozen=True)
class Layer:
    """Constants of one styled convolution.

    weight: in the dtype of the features, [outputs,inputs,3,3], or [inputs,outputs,3,3] where it doubles the size; blur
    [outputs,1,4,4]: the filter that follows in that case; energy [inputs,outputs] (squared weights summed over the
    kernel) and bias [outputs], both float32.
    """

    weight: Tensor
    energy: Tensor
    bias: Tensor
    blur: Tensor | None


@dataclass(frozen=True)
class Level:
    """One resolution: two styled convolutions, flow weight [3,C] and bias [3], colour layer, grid [n,n,2]."""

    up: Layer
    flat: Layer
    flow_weight: Tensor
    flow_bias: Tensor
    colour: _Colour
    grid: Tensor


@dataclass(frozen=True)
class Constants:
    """What is computed once per model.

    directions [S,M]; style_weight [W,S] and style_bias [W]: the affine maps to all styles; motion_weight [W,M] =
    style_weight directions; widths: of the styles, sum W; start: the constant input [1,C,4,4]; the layers.
    """

    directions: Tensor
    style_weight: Tensor
    style_bias: Tensor
    motion_weight: Tensor
    widths: tuple[int, ...]
    start: Tensor
    first: Layer
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class PreparedPortrait:
    """What is computed once per portrait.

    style [1,W]: without motion; tables: the skip features of each level as rows [n n, C], none for the last level;
    colours: [1,3,n,n] of each level.
    """

    style: Tensor
    tables: tuple[Tensor, ...]
    colours: tuple[Tensor, ...]


@dataclass(frozen=True)
class DecodedFrames:
    """Frames [B,3,n,n], about -1..1 and not clamped, and raw flows [B,3,n,n] per level.

    The channels of a raw flow are x and y before tanh and the mask before sigmoid.
    """

    pictures: Tensor
    flows: tuple[Tensor, ...]


class StyledDecoder(nn.Module):
    """The decoder: call `constants` once, `prepare` once per portrait, and `draw` for each batch of frames."""

    def __init__(self, config: StageOneConfig) -> None:
        super().__init__()
        style, channels = config.style, config.channels
        self.direction = _Directions(style, config.motion)
        self.input = _ConstantInput(channels[0])
        self.conv1 = _Styled(channels[0], channels[0], style)
        self.convs, self.to_flows, self.to_rgbs = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for inputs, outputs in pairwise(channels):
            self.convs.extend([_Styled(inputs, outputs, style), _Styled(outputs, outputs, style)])
            self.to_flows.append(_Flow(outputs, style))
            self.to_rgbs.append(_Colour(outputs))

    def directions(self) -> Tensor:
        """The orthonormal directions [S,M], by QR on the CPU.

        The weights were trained with the signs of Householder QR; other devices may choose other signs.
        """
        return torch.linalg.qr(self.direction.weight.float().cpu() + EPSILON)[0].to(self.direction.weight.device)

    @torch.no_grad()
    def constants(self, dtype: torch.dtype = torch.float32) -> Constants:
        """What depends on the weights alone.

        dtype: of features and convolutions above FLOAT32_SIZE pixels, float32 or bfloat16.
        """
        modulations = [self.conv1.conv.modulation]
        for index in range(len(self.to_flows)):
            up, flat, flow, _ = self._layers(index)
            modulations += [up.conv.modulation, flat.conv.modulation, flow.conv.modulation]
        weight = torch.cat([modulation.scaled() for modulation in modulations])
        bias = torch.cat([modulation.bias for modulation in modulations])
        directions = self.directions()
        levels = tuple(self._level(index, dtype) for index in range(len(self.to_flows)))
        widths = tuple(modulation.bias.numel() for modulation in modulations)
        first = _layer(self.conv1, torch.float32)
        return Constants(directions, weight, bias, weight @ directions, widths, self.input.input, first, levels)

    def _layers(self, index: int) -> tuple[_Styled, _Styled, _Flow, _Colour]:
        """The modules of one resolution."""
        up, flat = cast(_Styled, self.convs[2 * index]), cast(_Styled, self.convs[2 * index + 1])
        return up, flat, cast(_Flow, self.to_flows[index]), cast(_Colour, self.to_rgbs[index])

    def _level(self, index: int, dtype: torch.dtype) -> Level:
        """The constants of one resolution, n = 8 * 2^index pixels."""
        up, flat, flow, colour = self._layers(index)
        device, n = self.direction.weight.device, 8 * 2**index
        dtype = torch.float32 if n <= FLOAT32_SIZE else dtype
        axis = torch.linspace(-1, 1, n, device=device)
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1], -1)
        layers = _layer(up, dtype, doubles=True), _layer(flat, dtype)
        return Level(*layers, flow.conv.scaled()[..., 0, 0], flow.bias.flatten(), colour, grid)

    @torch.no_grad()
    def prepare(self, constants: Constants, image_code: Tensor, skips: tuple[Tensor, ...]) -> PreparedPortrait:
        """A portrait's image code [1,S] and skips [1,C,n,n] from 8x8 up -> what is computed once per portrait."""
        style = F.linear(image_code, constants.style_weight, constants.style_bias)
        pairs = list(zip(constants.levels, skips, strict=True))
        tables = [skip[0].flatten(1).T.to(level.flat.weight.dtype).contiguous() for level, skip in pairs[:-1]]
        colours = tuple(level.colour.conv[0](skip).contiguous() for level, skip in pairs)
        return PreparedPortrait(style, tuple(tables), colours)

    @torch.no_grad()
    def draw(self, constants: Constants, prepared: PreparedPortrait, motion: Tensor) -> DecodedFrames:
        """Frames of one portrait under motion [B,M]; they do not depend on each other."""
        styles = (prepared.style + motion @ constants.motion_weight.T).split(constants.widths, 1)
        x = constants.start.expand(len(motion), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        x = _styled(constants.first, x, styles[0])
        flow: Tensor | None = None
        picture: Tensor | None = None
        flows = []
        for index, level in enumerate(constants.levels):
            up, flat, flow_style = styles[1 + 3 * index : 4 + 3 * index]
            x = _styled(level.flat, _styled(level.up, x, up), flat)
            flow = _flow(level, x, flow_style, flow)
            grid, mask = level.grid + flow[:, :2].tanh().permute(0, 2, 3, 1), flow[:, 2].sigmoid()
            if index < len(prepared.tables):
                warped = _sample(prepared.tables[index], grid, mask).permute(0, 3, 1, 2)
                x = torch.addcmul(warped, x, (1 - mask)[:, None].to(x.dtype))
            picture = _colour(level, prepared.colours[index], grid, mask, picture)
            flows.append(flow)
        assert picture is not None  # there is at least one level
        return DecodedFrames(picture, tuple(flows))


def _layer(module: _Styled, dtype: torch.dtype, doubles: bool = False) -> Layer:
    """The constants of one styled convolution; doubles: it doubles the size."""
    weight = module.conv.scaled()
    energy = weight.square().sum((2, 3)).T.contiguous()
    bias, blur = module.activate.bias.flatten(), None
    if doubles:
        blur = depthwise(binomial(4.0), len(weight)).to(weight.device, dtype)
        weight = weight.transpose(0, 1)
    return Layer(weight.to(dtype).contiguous(memory_format=torch.channels_last), energy, bias, blur)


def _styled(layer: Layer, x: Tensor, style: Tensor) -> Tensor:
    """Features [B,inputs,n,n], style [B,inputs] -> [B,outputs,n or 2n,...]: convolution, demodulation, activation."""
    x = (x * style[..., None, None].to(x.dtype)).to(layer.weight.dtype)
    if layer.blur is None:
        x = F.conv2d(x, layer.weight, padding=1)
    else:
        x = F.conv2d(F.conv_transpose2d(x, layer.weight, stride=2), layer.blur, padding=1, groups=len(layer.blur))
    # The activation's factor sqrt 2 is applied before the leaky ReLU, which commutes with positive factors.
    scale = math.sqrt(2) * (style.square() @ layer.energy + EPSILON).rsqrt()
    bias = math.sqrt(2) * layer.bias
    x = torch.addcmul(bias[:, None, None].to(x.dtype), x, scale[..., None, None].to(x.dtype))
    return F.leaky_relu_(x, SLOPE)


def _flow(level: Level, x: Tensor, style: Tensor, previous: Tensor | None) -> Tensor:
    """Modulated 1x1 convolution to x, y and mask, in float32, plus the doubled raw flow of the previous level."""
    features = x.permute(0, 2, 3, 1).flatten(1, 2).float()  # [B,n n,C]
    flow = features @ (level.flow_weight * style[:, None]).transpose(1, 2) + level.flow_bias
    flow = flow.transpose(1, 2).unflatten(2, x.shape[2:])
    return flow if previous is None else flow + double(previous)


def _colour(level: Level, colour: Tensor, grid: Tensor, mask: Tensor, previous: Tensor | None) -> Tensor:
    """The portrait's colour [1,3,n,n] sampled at `grid` and masked, plus the doubled picture of the previous level."""
    sampled = F.grid_sample(colour.expand(len(grid), -1, -1, -1), grid, align_corners=False)
    picture = level.colour.conv[1](sampled * mask[:, None]) + level.colour.bias
    return picture if previous is None else picture + double(previous)


def _sample(table: Tensor, grid: Tensor, mask: Tensor) -> Tensor:
    """Bilinear samples of a map in rows [n n, C], zeros outside, times mask [B,n,n] -> [B,n,n,C].

    grid [B,n,n,2]: x and y, -1 and 1 at the outer borders of the pixels. Equivalent to `F.grid_sample(map, grid,
    align_corners=False) * mask` within rounding, with channels last.
    """
    n = grid.shape[1]
    at = ((grid + 1) * n - 1) / 2
    corner = at.floor()
    fraction = at - corner
    cells = torch.stack([corner, corner + 1])  # [2,B,n,n,2]
    weights = torch.stack([1 - fraction, fraction]) * ((cells >= 0) & (cells < n))
    cells = cells.clamp(0, n - 1).long()
    rows = (cells[:, None, ..., 1] * n + cells[None, :, ..., 0]).flatten(0, 1)  # [4,B,n,n]
    shares = (weights[:, None, ..., 1] * weights[None, :, ..., 0]).flatten(0, 1) * mask
    rows, shares = rows.flatten(1).T.contiguous(), shares.flatten(1).T.contiguous()
    samples = F.embedding_bag(rows, table, mode="sum", per_sample_weights=shares.to(table.dtype))
    return samples.unflatten(0, mask.shape)
