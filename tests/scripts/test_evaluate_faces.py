"""AP over overlaps with detectors whose answer is known: perfect, off by some pixels, blind."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from anitalker.face_network import Detections
from scripts import evaluate_faces


@pytest.fixture
def score(monkeypatch, face):
    """Shift of every box, as a share of its side -> what `precisions` says."""
    boxes = torch.tensor([[10.0, 10, 60, 60], [80, 20, 120, 60]])

    def scenes(frames, landmarks, count, size):
        return torch.zeros(count, 3, size, size), boxes.expand(count, 2, 4), None, torch.ones(count, 2, dtype=bool)

    monkeypatch.setattr(evaluate_faces, "make_scenes", scenes)
    still = SimpleNamespace(
        clip=np.full(4, -1), frames=np.zeros((4, 8, 8, 3), np.uint8), landmarks=np.zeros((4, 468, 3), np.float32)
    )

    def check(share, found=2):
        def detect(pictures):
            side = (boxes[:, 2] - boxes[:, 0])[:, None]
            moved = boxes + share * side * torch.tensor([1.0, 0, 1, 0])
            return [Detections(moved[:found], torch.tensor([0.9, 0.8])[:found], torch.zeros(found, 4, 2))] * len(
                pictures
            )

        return evaluate_faces.precisions(detect, still, 16, 128)

    return check


def test_perfect_boxes(score):
    assert score(0.0) == pytest.approx({"faces": 32, "ap50": 1, "ap75": 1, "ap50_95": 1})


def test_boxes_a_little_off_lose_the_strict_overlaps(score):
    """A tenth of the side off is an overlap of 0.9 / 1.1 = 0.818: seven of ten thresholds."""
    made = score(0.1)
    assert made["ap50"] == 1 and made["ap75"] == 1 and made["ap50_95"] == pytest.approx(0.7)


def test_half_of_the_faces(score):
    assert score(0.0, found=1)["ap50"] == pytest.approx(0.5)
    assert score(0.6)["ap50"] == 0
