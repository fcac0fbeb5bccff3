"""Stage one of the original: image encoder with HAL, and the style-modulated decoder that warps its features.

Letters: B frames at once, M = 20 motion numbers, n = 256 pixels of a frame.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anitalker.network_config import StageOneConfig
from anitalker.original.styled_decoder import DecodedFrames, StyledDecoder
from encoders.pyramid import StageOneEncoder, StageOneEncoding


class StageOne(nn.Module):
    """Encoder and decoder; the keys of the state dict are those of the published file."""

    def __init__(self, config: StageOneConfig) -> None:
        super().__init__()
        self.config = config
        self.enc = StageOneEncoder(config.channels, config.style, config.motion)
        self.dec = StyledDecoder(config)

    @torch.no_grad()
    def encode(self, image: Tensor) -> StageOneEncoding:
        """Pictures [B,3,n,n] in [-1,1] -> all outputs of the encoder."""
        return self.enc(image)

    def render(self, encoding: StageOneEncoding, motion: Tensor, dtype: torch.dtype = torch.float32) -> DecodedFrames:
        """One encoded portrait and motion [B,M] -> pictures [B,3,n,n], not clamped, and raw flows."""
        constants = self.dec.constants(dtype)
        return self.dec.draw(constants, self.dec.prepare(constants, encoding.image_code, encoding.skips), motion)
