"""A portrait's finer copy, and the windows that filters work in."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from anitalker.decoder.detail import DETAIL_OFFSET, box_mean, prepare_detail, sliding_reduce


def test_a_finer_copy_keeps_colours_and_sharpens():
    rng = np.random.default_rng(0)
    flat = np.full((12, 10, 3), (200, 90, 30), np.uint8)
    detail = prepare_detail(flat)
    assert detail.fine.shape == (24, 20, 4) and (detail.fine[..., :3] == flat[0, 0]).all()
    assert np.abs(detail.detail).max() < 1e-3
    grainy = rng.integers(96, 160, (40, 40, 3)).astype(np.uint8)
    detail = prepare_detail(grainy)
    assert detail.fine[..., :3].mean() == pytest.approx(grainy.mean(), abs=0.5)
    assert detail.fine[..., 3].mean() == pytest.approx(DETAIL_OFFSET, abs=0.5)
    assert 0.2 * grainy.std() < detail.fine[..., 3].std() < grainy.std()


@pytest.mark.parametrize("side", [3, 7, 9])
def test_windows_are_torchs_pools(side):
    """Sums and maxima of windows by doubling equal those of torch's slower pools, at borders too."""
    field, half = torch.rand(2, 1, 20, 33), side // 2
    torch.testing.assert_close(box_mean(field, side), F.avg_pool2d(field, side, 1, half, count_include_pad=False))
    wide = sliding_reduce(sliding_reduce(F.pad(field, (half,) * 4), side, 2, torch.maximum), side, 3, torch.maximum)
    assert torch.equal(wide, F.max_pool2d(field, side, 1, half))
