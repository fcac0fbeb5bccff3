"""A noisy picture, and faces put where a test wants them."""

import math

import numpy as np
import pytest
import torch

from anitalker.faces.detection import Face, box_of
from anitalker.faces.landmarks import from_canonical


@pytest.fixture
def picture():
    return np.random.randint(0, 256, (300, 400, 3), dtype=np.uint8)


@pytest.fixture
def make_face(face):
    def make(x=200.0, y=140.0, height=100.0, **angles) -> Face:
        turned = [math.radians(angles.get(name, 0)) for name in ("yaw", "pitch", "roll")]
        pose = torch.tensor([[*turned, -0.5, -0.5, math.log(height)]])
        points = (from_canonical(face[None], pose)[0] + torch.tensor([x, y, 0])).numpy()
        return Face(box_of(points), 0.9, points)

    return make
