"""Fréchet distances of Gaussians whose distance is known, through networks as the published ones are called."""

import numpy as np
import pytest
import scipy.linalg
import torch

from anitalker.config import InputError
from scripts.evaluation.frechet import WINDOW, FrechetDistance, frechet


@pytest.mark.slow
def test_distance_of_known_gaussians():
    rng = np.random.default_rng(0)
    a = torch.from_numpy(rng.normal(size=(20_000, 3)))
    assert frechet(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet(a, a + torch.tensor([3, 0, 4])) == pytest.approx(25, rel=1e-6)
    assert frechet(a, 3 * a) == pytest.approx(3 * 4, rel=0.05)  # per dimension (3 - 1)^2


@pytest.mark.parametrize(("samples", "width"), [(50, 4), (4, 9)])
def test_distance_is_the_formula(samples, width):
    """|m - n|^2 + tr(A + B - 2 (A B)^(1/2)), also with fewer samples than features."""
    rng = np.random.default_rng(0)
    made, true = rng.normal(size=(samples, width)), 2 + rng.normal(size=(samples + 1, width))
    a, b = np.cov(made, rowvar=False), np.cov(true, rowvar=False)
    roots = np.sqrt(np.maximum(scipy.linalg.eigvals(a @ b).real, 0))  # of the eigenvalues, which are real
    expected = np.square(made.mean(0) - true.mean(0)).sum() + np.trace(a + b) - 2 * roots.sum()
    assert frechet(torch.from_numpy(made), torch.from_numpy(true)) == pytest.approx(expected, abs=1e-3)


class Colours(torch.nn.Module):
    def forward(self, images: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert return_features and images.dtype == torch.uint8
        return images.float().mean((2, 3))


class Clips(torch.nn.Module):
    def forward(
        self, video: torch.Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False
    ) -> torch.Tensor:
        assert rescale and resize and return_features
        return video.mean((3, 4)).std(2)


def test_fid_and_fvd_of_planted_networks(tmp_path):
    torch.jit.script(Colours()).save(str(tmp_path / "inception.pt"))
    torch.jit.script(Clips()).save(str(tmp_path / "i3d.pt"))
    rng = np.random.default_rng(0)
    frames = rng.integers(100, 130, (2 * WINDOW + 3, 8, 8, 3), np.uint8)
    fid = FrechetDistance("fid", str(tmp_path / "inception.pt"))
    fid.add(frames + np.uint8(20), frames)
    assert fid.result()["value"] == pytest.approx(3 * 20**2, rel=1e-3) and fid.result()["samples"] == len(frames)
    fvd = FrechetDistance("fvd", str(tmp_path / "i3d.pt"))
    fvd.add(np.repeat(frames[:1], len(frames), 0), frames)  # a still video is no video
    assert fvd.result()["samples"] == 2 and fvd.result()["value"] > 1e-3
    assert [row.shape for row in fvd.generated] == [(1, 3)] * 2 and not torch.cat(fvd.generated).any()


def test_a_wrong_file_is_a_usage_error(tmp_path):
    (tmp_path / "net.pt").write_bytes(b"x")
    for name in ("fid", "fvd"):
        with pytest.raises(InputError, match="TorchScript"):
            FrechetDistance(name, str(tmp_path / "net.pt"))
