"""The original's decoder as training needs it: a portrait of its own for every frame of the batch, and gradients.

`original.styled_decoder` draws many frames of one portrait and keeps no graph. This is the same function of the same
parameters (a test holds the two together), written plainly. Letters: B pictures, S the style's width, M motion numbers,
n pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.original.styled_decoder import EPSILON, StyledDecoder
from encoders.equalized import SLOPE, binomial, depthwise, double


def draw(
    decoder: StyledDecoder, image_code: Tensor, skips: tuple[Tensor, ...], motion: Tensor
) -> tuple[Tensor, Tensor]:
    """Image codes [B,S], skips from 8x8 up [B,C,n,n] and motion [B,M] -> frames [B,3,n,n], about -1..1, and where each
    of their pixels comes from, [B,2,n,n] in crop widths (of the finest level).

    style = code + Q motion; at every level x <- mask warp(skip) + (1 - mask) x, picture <- colour(mask warp(skip)) +
    doubled picture (LIA, Wang et al. 2022, section 3.3). Flow, places and colour are float32 under autocast too.
    """
    style = image_code.float() + motion.float() @ decoder.directions().T
    x = decoder.input.input.expand(len(style), -1, -1, -1)
    x = _styled(decoder.conv1, x, style)
    flow = picture = None
    for index, skip in enumerate(skips):
        x = _styled(decoder.convs[2 * index], x, style, doubles=True)
        x = _styled(decoder.convs[2 * index + 1], x, style)
        with torch.autocast(x.device.type, enabled=False):
            layer = decoder.to_flows[index]
            weight = layer.conv.scaled()[..., 0, 0] * layer.conv.modulation(style)[:, None]  # [B,3,C]
            drawn = torch.einsum("bkc,bchw->bkhw", weight, x.float()) + layer.bias
            flow = drawn if flow is None else drawn + double(flow)
            n = x.shape[-1]
            axis = torch.linspace(-1, 1, n, device=x.device)
            grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1])
            place, mask = grid + flow[:, :2].tanh(), flow[:, 2:].sigmoid()
            warped = F.grid_sample(skip.float(), place.permute(0, 2, 3, 1), align_corners=False) * mask
            colour = decoder.to_rgbs[index]
            residual = colour.conv(warped) + colour.bias
            picture = residual if picture is None else residual + double(picture)
        x = warped.to(x.dtype) + x * (1 - mask).to(x.dtype)
    return picture, (place + 1) / 2


def _styled(layer, x: Tensor, style: Tensor, doubles: bool = False) -> Tensor:
    """Modulated convolution, demodulated, then bias and activation (StyleGAN2, Karras et al. 2020, eq. 1-3)."""
    weight = layer.conv.scaled()
    with torch.autocast(x.device.type, enabled=False):
        scale = layer.conv.modulation(style)
        energy = weight.float().square().sum((2, 3))
        demodulation = (scale.square() @ energy.T + EPSILON).rsqrt()
    x = x * scale[..., None, None].to(x.dtype)
    if doubles:
        blur = depthwise(binomial(4.0), len(weight)).to(x)
        x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        x = F.conv2d(x, blur.to(x.dtype), padding=1, groups=len(blur))
    else:
        x = F.conv2d(x, weight, padding=1)
    x = x * demodulation[..., None, None].to(x.dtype) + layer.activate.bias.to(x.dtype)
    return F.leaky_relu(x, SLOPE) * math.sqrt(2)
