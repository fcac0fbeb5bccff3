"""Anchor matching, losses at the truth, and a detector that learns."""

import numpy as np
import pytest
import torch

from anitalker.config import DetectorConfig
from anitalker.faces.face_network import Detector, decode_boxes, encode_boxes
from scripts.training import face_losses, scenes


def test_anchors_take_the_face_they_cover():
    anchors = torch.tensor([[20.0, 20, 16], [60, 60, 32], [20, 60, 16]])
    boxes = torch.tensor([[[13.0, 12, 28, 28], [30, 30, 90, 90], [0, 0, 0, 0]]])
    label, which = face_losses.match(anchors, boxes, torch.tensor([[True, True, False]]))
    assert label.tolist() == [[1, 1, 0]]  # the second overlaps too little but is the best there is
    assert which[0, :2].tolist() == [0, 1]


def test_losses_vanish_at_the_truth(people):
    _, truth = people
    weights = face_losses.coordinate_weights()
    assert weights[:, :2].mean() == pytest.approx(1, abs=1e-4) and weights[13, 0] == pytest.approx(
        3 * float(weights[1, 0])
    )
    assert face_losses.landmark_loss(truth, truth, weights) == 0
    assert face_losses.opening_loss(truth + 0.1, truth) == pytest.approx(0, abs=1e-6)
    assert face_losses.landmark_loss(truth + torch.tensor([0.005, 0, 0]), truth, weights) == pytest.approx(
        0.005 / 0.5 / 3, rel=0.02
    )
    anchors = torch.tensor([[20.0, 20, 16], [60, 60, 32]])
    boxes, points = torch.tensor([[[12.0, 12, 28, 28]]]), torch.full((1, 1, 4, 2), 20.0)
    sure = torch.tensor([[20.0, -20.0]])
    out = (sure, encode_boxes(anchors, boxes.expand(1, 2, 4)), torch.zeros(1, 2, 4, 2))
    score, box, point = face_losses.detector_loss(out, anchors, boxes, points, torch.ones(1, 1, dtype=torch.bool))
    assert score < 1e-6 and box == pytest.approx(0, abs=1e-5) and point == pytest.approx(0, abs=1e-5)
    assert torch.allclose(decode_boxes(anchors, out[1])[0, 0], boxes[0, 0], atol=1e-4)


def test_detector_learns_one_batch(people):
    torch.manual_seed(0)
    network = Detector(DetectorConfig(channels=(8, 16, 16, 16), pyramid=16))
    anchors = network.anchors(160, 160)
    batch = scenes.make_scenes(*people, 4, 160)
    optimizer, losses = torch.optim.AdamW(network.parameters(), 5e-3), []
    for _ in range(14):
        loss = sum(face_losses.detector_loss(network(batch[0]), anchors, *batch[1:]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all() and losses[-1] < 0.75 * losses[0]
