"""Perceptual distance: nothing for the same, and a wrong mouth is the mouth's fault alone."""

import numpy as np
import pytest
import torch

from anitalker.config import InputError
from anitalker.faces.landmarks import EYES, LIPS
from scripts.evaluation.perception import PATCH, Perception, features_file, patch


class MeanDifference(torch.nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).abs().mean((1, 2, 3))


@pytest.fixture
def perception(tmp_path):
    torch.jit.script(MeanDifference()).save(str(tmp_path / "lpips.pt"))
    return Perception(tmp_path / "lpips.pt")


def with_parts(fakes):
    """A face whose lips and eyes stand in their places, [2,468,3]."""
    points = fakes.face()
    points[list(LIPS), :2] = (0.5, 0.7)
    points[list(EYES), :2] = (0.5, 0.4)
    return np.stack([points, points])


def test_a_wrong_mouth_is_seen_in_the_mouth_alone(fakes, perception):
    labels = with_parts(fakes)
    true = np.full((2, 256, 256, 3), 128, np.uint8)
    made = true.copy()
    made[:, 169:189, 118:138] = 255
    same, other = perception(true, true, labels), perception(made, true, labels)
    assert all(values.shape == (2,) and not values.any() for values in same.values())
    assert (other["eyes"] == 0).all() and (other["mouth"] > 5 * other["perceptual"]).all()


def test_patch_is_the_square_about_the_points(fakes):
    labels = torch.from_numpy(with_parts(fakes))
    columns = (torch.arange(256) + 0.5) / 256
    cut = patch(columns.expand(2, 3, 256, 256), labels, LIPS, 0.46)
    half = 0.46 * 0.6 / 2  # the face is 0.6 crop widths high
    assert cut.shape == (2, 3, PATCH, PATCH)
    expected = 0.5 + half * ((torch.arange(PATCH) + 0.5) * 2 / PATCH - 1)
    torch.testing.assert_close(cut[0, 0, 0], expected, atol=1e-3, rtol=0)


def test_squeezenet_from_a_file(tmp_path, fakes):
    from torchvision.models import squeezenet1_0

    torch.manual_seed(0)
    state = {key: value.numpy() for key, value in squeezenet1_0(weights=None).state_dict().items()}
    np.savez(tmp_path / "net.npz", **state)
    frames = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    found = Perception(tmp_path / "net.npz")
    assert found(frames, frames, with_parts(fakes)[:1])["perceptual"] == pytest.approx(0, abs=1e-6)
    assert found(frames, 255 - frames, with_parts(fakes)[:1])["perceptual"] > 0.01


def test_features_are_taken_from_the_data_folder_or_by_name(tmp_path):
    assert features_file(str(tmp_path), None) == "none"
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets/squeezenet1_0_imagenet.npz").touch()
    assert features_file(str(tmp_path), None).endswith("squeezenet1_0_imagenet.npz")
    assert features_file(str(tmp_path), "vgg19") == "vgg19"


@pytest.mark.parametrize("name", ["missing.npz", "missing.pt"])
def test_features_that_are_not_there_are_a_usage_error(tmp_path, name):
    with pytest.raises(InputError):
        Perception(tmp_path / name)
