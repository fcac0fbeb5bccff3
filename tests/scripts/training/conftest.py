"""What the tests of drawn things share."""

import numpy as np
import pytest


@pytest.fixture
def still(face):
    """Noise, and landmarks of a face in its middle."""
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    return picture, face.numpy() * 0.6 + np.float32([0.5, 0.4, 0])
