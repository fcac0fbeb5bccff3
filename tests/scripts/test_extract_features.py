"""What is read from clips: codes of every frame, control signals."""

from types import SimpleNamespace

import numpy as np
import torch

from anitalker.media.writer import VideoWriter
from anitalker.models.original import portrait_signals
from scripts import extract_features
from scripts.training.data import Clip


def test_codes_are_read_from_every_frame(original_networks, tmp_path):
    stage_one, rng = original_networks()[0].eval(), np.random.default_rng(0)
    frames = np.repeat(np.repeat(rng.integers(0, 256, (30, 16, 16, 3), dtype=np.uint8), 16, 1), 16, 2)
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, 256, 256) as writer:
        for frame in frames:
            writer.write(frame)
    landmarks = np.zeros((31, 468, 3), np.float32)
    read = extract_features.read_codes(stage_one, Clip({}, landmarks, path.read_bytes()), batch=7)
    assert read["motion"].shape == (31, 20) and read["appearance"].shape == (2, 24)
    assert torch.equal(read["motion"][30], read["motion"][29])
    assert (read["motion"][1:30] - read["motion"][:29]).abs().amax(1).min() > 1e-4


def test_signals_are_those_of_a_portrait(face):
    """What the training is told of a frame is what `render` tells of a portrait."""
    points = face.numpy().astype(np.float32)
    seen = portrait_signals(SimpleNamespace(landmarks=points))
    told = extract_features.signals_of(points[None], torch.zeros(1, 20))[0]
    assert torch.allclose(told[:2], torch.cat([seen["location"], seen["scale"]]), atol=1e-6)
