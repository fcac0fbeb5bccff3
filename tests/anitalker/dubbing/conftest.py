"""The shipped model as dubbing uses it, and a short video of the example portrait that moves across a wall."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def talker():
    from anitalker.pipeline import load

    return load("lite", "cpu")


@pytest.fixture(scope="session")
def model(talker):
    return talker.model.dubbing


@pytest.fixture(scope="session")
def people(talker):
    """Makes the people of a video of whom nobody is known yet."""
    from anitalker.dubbing.people import People

    return lambda: People(talker.finder(), lambda: talker.verifier)


@pytest.fixture(scope="session")
def portrait(example_portrait) -> np.ndarray:
    """The example portrait, uint8 [200,200,3]."""
    from PIL import Image

    with Image.open(example_portrait) as picture:
        return np.asarray(picture.convert("RGB").resize((200, 200), Image.Resampling.BICUBIC))


@pytest.fixture(scope="session")
def film(portrait):
    """Makes frames uint8 [T,220,360,3] that show the portrait at x pixels from the left; None: the wall alone."""

    def make(places) -> np.ndarray:
        rng = np.random.default_rng(3)
        wall = (90 + rng.normal(0, 4, (220, 360, 1)) + np.linspace(0, 60, 360)[:, None]).clip(0, 255)
        frames = np.repeat(wall.astype(np.uint8), 3, 2)[None].repeat(len(places), 0)
        for frame, x in zip(frames, places, strict=True):
            if x is not None:
                frame[10:210, x : x + 200] = portrait
        return frames

    return make


@pytest.fixture(scope="session")
def speech(make_wav, tmp_path_factory):
    """A second of a voice-like tone that comes and goes, float32 [16000] and as a file."""
    times = np.arange(16_000) / 16_000
    voice = sum(np.sin(2 * np.pi * 130 * k * times) / k for k in range(1, 12))
    samples = (0.25 * voice * np.clip(np.sin(2 * np.pi * 3 * times), 0, 1)).astype(np.float32)
    return samples, make_wav(tmp_path_factory.mktemp("dub") / "speech.wav", samples)


@pytest.fixture(scope="session")
def open_mouth(model):
    """The motion code [1,20] whose lower lip and chin lie about a tenth of the face height lower than at rest."""
    import torch

    from anitalker.config import POSE_SIZE

    drop = torch.zeros(468, 3)
    drop[model.space.canonical[:, 1] > model.space.canonical[13, 1] + 1e-4, 1] = 0.1
    code = torch.zeros(1, 20)
    code[0, POSE_SIZE:] = model.space.directions.T @ drop.flatten()
    return code @ model.subspaces.lips
