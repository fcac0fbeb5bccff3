"""A public recognition network sees the usual five points; other files are usage errors."""

import numpy as np
import pytest
import torch

from anitalker.config import InputError
from scripts.evaluation.identity_network import IdentityNetwork


def turned(canonical, turn=0.2, size=0.6, shift=(0.5, 0.42)):
    """The canonical face in a picture, [1,468,3] in crop units."""
    cos, sin = np.cos(turn), np.sin(turn)
    flat = canonical[:, :2] @ torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float32) * size
    return torch.cat([flat + torch.tensor(shift), canonical[:, 2:] * size], 1)[None]


def test_a_recognition_network_sees_the_usual_five_points(tmp_path, face):
    class Pixels(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :, 50:54, 36:40].flatten(1)  # about the right eye of the usual crop

    torch.jit.script(Pixels()).save(str(tmp_path / "net.pt"))
    points = turned(face)
    frame = np.zeros((1, 256, 256, 3), np.uint8)
    x, y = (points[0, [33, 133], :2].mean(0) * 256).int().tolist()
    frame[0, y - 6 : y + 7, x - 6 : x + 7] = [255, 0, 0]
    found = IdentityNetwork(tmp_path / "net.pt")(frame, points.numpy()).reshape(3, 4, 4)
    assert (found[0] > 0.1).all() and (found[1:] < -0.1).all()


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
def test_a_file_that_is_no_network_is_a_usage_error(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(InputError):
        IdentityNetwork(tmp_path / name)
