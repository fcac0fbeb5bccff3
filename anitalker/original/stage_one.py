"""Stage one of the original: image encoder with HAL, and the style-modulated decoder that warps its features.

Letters: B frames at once, M = 20 motion numbers, n = 256 pixels of a frame.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anitalker.config import StageOneConfig
from anitalker.original.styled_decoder import Drawn, StyledDecoder
from encoders.pyramid import Look, StageOneEncoder


class StageOne(nn.Module):
    """Encoder and decoder; keys of the state dict are those of the published file."""

    def __init__(self, config: StageOneConfig) -> None:
        super().__init__()
        self.config = config
        self.enc = StageOneEncoder(config.channels, config.style, config.motion)
        self.dec = StyledDecoder(config)

    @torch.no_grad()
    def encode(self, image: Tensor) -> Look:
        """Pictures [B,3,n,n] in [-1,1] -> everything that the encoder says."""
        return self.enc(image)

    def render(self, look: Look, motion: Tensor, dtype: torch.dtype = torch.float32) -> Drawn:
        """One portrait, as `encode` saw it, under motion [B,M] -> pictures [B,3,n,n], not clamped, and raw flows."""
        constants = self.dec.constants(dtype)
        return self.dec.draw(constants, self.dec.prepare(constants, look.image_code, look.skips), motion)
