"""Cells and memory formats are torch's own."""

import pytest
import torch
from torch.nn import functional as F

from anitalker.decoder.blocks import channels_last, from_cells, to_cells


@pytest.mark.parametrize("k", [2, 4])
def test_cells_are_torchs_pixel_shuffles(k):
    pictures = torch.rand(2, 3, 8, 12)
    assert torch.equal(to_cells(pictures, k), F.pixel_unshuffle(pictures, k))
    cells = torch.rand(2, 3 * k * k, 4, 6).contiguous(memory_format=torch.channels_last)
    assert torch.equal(from_cells(cells, k), F.pixel_shuffle(cells, k))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 19, 8, 6), (2, 19, 8, 6), (1, 200, 8, 6)])
def test_channels_last_is_torchs_format(shape, dtype):
    """Strides too: with others of the same meaning, convolutions take twice the time."""
    maps = torch.rand(shape).to(dtype)
    expected = maps.contiguous(memory_format=torch.channels_last)
    assert torch.equal(channels_last(maps), expected) and channels_last(maps).stride() == expected.stride()
    assert channels_last(maps.requires_grad_()).requires_grad
