"""Detector and landmark regressor: shapes, inverse pairs, mirrored eyes, shipped names."""

import numpy as np
import pytest
import torch

from anitalker.faces.face_network import (
    Detector,
    FaceNetwork,
    LandmarkRegressor,
    crop_frame,
    decode_boxes,
    encode_boxes,
    from_crop,
    sample_crops,
    suppress,
    to_crop,
)
from anitalker.faces.landmarks import EYES, LEFT_EYE, LIPS, RIGHT_EYE
from anitalker.network_config import DetectorConfig, LandmarkConfig

SMALL_DETECTOR = DetectorConfig(channels=(8, 8, 16, 16), pyramid=8)
SMALL_LANDMARKS = LandmarkConfig(size=64, channels=(8, 16, 16), blocks=1, neck=8, coefficients=6, part_size=8)


@pytest.fixture
def detector():
    torch.manual_seed(0)
    return Detector(SMALL_DETECTOR).eval()


@pytest.fixture
def regressor(face):
    """With a face for its mean shape and with corrections that are not zero."""
    torch.manual_seed(0)
    network = LandmarkRegressor(SMALL_LANDMARKS)
    network.set_shape(face * 0.7 - torch.tensor([0.0, 0.15, 0.0]), torch.randn(6, 468, 3) * 0.01)
    for refiner in network.parts.values():
        torch.nn.init.normal_(refiner.head.weight, std=0.01)
    return network


def test_one_output_per_anchor(detector):
    logits, boxes, points = detector(torch.rand(2, 3, 64, 96))
    anchors = detector.anchors(64, 96)
    assert len(anchors) == 2 * (8 * 12 + 4 * 6 + 2 * 3)
    assert (
        logits.shape == (2, len(anchors))
        and boxes.shape == (2, len(anchors), 4)
        and points.shape == (2, len(anchors), 4, 2)
    )


def test_anchors_stand_where_the_network_looks(detector):
    picture = torch.zeros(1, 3, 128, 128)
    spot = picture.clone()
    spot[..., 100:108, 28:36] = 1.0  # x about 32, y about 104
    with torch.no_grad():
        change = (detector(spot)[0] - detector(picture)[0])[0].abs()
    finest = len(detector.config.anchors[0]) * 16 * 16
    x, y, _ = detector.anchors(128, 128)[int(change[:finest].argmax())]
    assert abs(x - 32) < 20 and abs(y - 104) < 20


def test_boxes_decode_to_what_was_encoded(detector):
    anchors = detector.anchors(64, 64)
    low = torch.rand(len(anchors), 2) * 40
    boxes = torch.cat([low, low + 5 + torch.rand(len(anchors), 2) * 50], -1)
    assert torch.allclose(decode_boxes(anchors, encode_boxes(anchors, boxes)), boxes, atol=1e-3)


def test_double_detections_are_suppressed(detector, monkeypatch):
    anchors = detector.anchors(64, 64)
    boxes = torch.tensor([[10.0, 10, 40, 40], [12.0, 11, 41, 42], [45.0, 45, 60, 60]])
    logits = torch.full((1, len(anchors)), -9.0)
    logits[0, :3] = torch.tensor([1.0, 3.0, 2.0])
    deltas = torch.zeros(1, len(anchors), 4)
    deltas[0, :3] = encode_boxes(anchors[:3], boxes)
    monkeypatch.setattr(detector, "forward", lambda pictures: (logits, deltas, torch.zeros(1, len(anchors), 4, 2)))
    detections = detector.detect(torch.zeros(1, 3, 64, 64))[0]
    assert torch.allclose(detections.boxes, boxes[[1, 2]], atol=1e-3)
    assert detections.points.shape == (2, 4, 2)


def test_suppression_is_torchvisions():
    from torchvision.ops import nms

    rng = torch.Generator().manual_seed(0)
    low = torch.rand(200, 2, generator=rng) * 60
    boxes = torch.cat([low, low + 5 + torch.rand(200, 2, generator=rng) * 40], 1)
    scores = (torch.rand(200, generator=rng) * 50).round() / 50  # equal ones too
    for overlap in (0.2, 0.35, 0.7):
        assert suppress(boxes, scores, overlap).tolist() == nms(boxes, scores, overlap).tolist()
    assert suppress(boxes[:0], scores[:0], 0.35).shape == (0,)


def test_regressor_moves_every_parameter(regressor):
    first, refined = regressor.coarse_and_refined(torch.rand(3, 3, 64, 64))
    assert first.shape == refined.shape == (3, 468, 3)
    (first.square().sum() + refined.square().sum()).backward()
    still = [name for name, p in regressor.named_parameters() if p.grad is None or not p.grad.any()]
    # Zero-initialised norms hold back the convolutions behind them at the first step.
    assert all(name.split(".")[-3] in ("first", "second") or "first" in name or "second" in name for name in still)
    assert not any("head" in name or "stem" in name or "shape" in name for name in still)


def test_a_batch_of_two_is_two_batches_of_one(regressor):
    regressor.eval()
    crops = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(regressor(crops), torch.cat([regressor(c[None]) for c in crops]), atol=1e-5)


def test_the_coarse_look_is_the_first_of_both(regressor):
    regressor.eval()
    crops = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(regressor.coarse(crops), regressor.coarse_and_refined(crops)[0])


def test_folding_norms_away_keeps_the_numbers():
    torch.manual_seed(0)
    network = FaceNetwork(SMALL_DETECTOR, SMALL_LANDMARKS)
    for module in network.modules():  # as after training: no norm is the identity
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2.0)
    folded, pictures = network.eval().folded(), torch.rand(1, 3, 64, 64) * 2 - 1
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())  # the network itself is kept
    with torch.no_grad():
        assert torch.allclose(folded.landmarks(pictures), network.landmarks(pictures), atol=1e-4)
        for mine, theirs in zip(folded.detector(pictures), network.detector(pictures), strict=True):
            assert torch.allclose(mine, theirs, atol=1e-3, rtol=1e-3)


def test_pictures_of_another_size_have_other_anchors(detector):
    for size in ((64, 64), (32, 96), (32, 96), (64, 64)):
        detector.detect(torch.zeros(1, 3, *size), 0.5)
        assert torch.equal(detector._cached_anchors[1], detector.anchors(*size))


@torch.no_grad()
def test_another_thread_may_look_at_pictures_of_another_size_meanwhile(detector, monkeypatch):
    large, forward = torch.randn(1, 3, 160, 160), detector.forward
    alone = detector.detect(large, threshold=0.001)[0]

    def disturbed(pictures):
        monkeypatch.setattr(detector, "forward", forward)
        detector.detect(torch.randn(1, 3, 64, 64), threshold=0.001)
        return forward(pictures)

    monkeypatch.setattr(detector, "forward", disturbed)
    torch.testing.assert_close(detector.detect(large, threshold=0.001)[0].boxes, alone.boxes)


def test_only_lips_and_eyes_are_refined(regressor):
    regressor.eval()
    with torch.no_grad():
        first, refined = regressor.coarse_and_refined(torch.rand(1, 3, 64, 64))
    changed = (first != refined).any(-1)[0].nonzero().squeeze(-1).tolist()
    assert set(changed) == set(LIPS + EYES)


def test_the_left_eye_is_the_right_eye_in_a_mirror(regressor, face):
    regressor.eval()
    near = torch.rand(1, 8, 16, 16)
    near = near + near.flip(3)
    landmarks = (face * 0.7 + torch.tensor([0.5, 0.35, 0.0]))[None]
    mirrored = torch.tensor([-1.0, 1.0, 1.0])
    landmarks[:, LEFT_EYE] = landmarks[:, RIGHT_EYE] * mirrored + torch.tensor([1.0, 0.0, 0.0])
    landmarks[:, 10, 0] = landmarks[:, 152, 0] = 0.5  # upright
    refined = landmarks.clone()
    with torch.no_grad():
        regressor._refine(near, landmarks, refined, "eye", ((RIGHT_EYE, 1.0), (LEFT_EYE, -1.0)))
    move = refined - landmarks
    assert move[:, RIGHT_EYE].abs().max() > 1e-4
    assert torch.allclose(move[:, LEFT_EYE], move[:, RIGHT_EYE] * mirrored, atol=1e-5)


def test_crops_are_upright_and_invertible(face):
    angle = torch.tensor(0.6)
    turn = torch.tensor([[angle.cos(), angle.sin(), 0], [-angle.sin(), angle.cos(), 0], [0, 0, 1]])
    landmarks = ((face * 100) @ turn + torch.tensor([140.0, 120.0, 0.0]))[None]
    frame = crop_frame(landmarks)
    local = to_crop(landmarks, *frame)
    assert abs(float(local[0, 10, 0] - local[0, 152, 0])) < 1e-4 and local[0, 10, 1] < local[0, 152, 1]
    assert local[..., :2].min() > 0 and local[..., :2].max() < 1
    assert torch.allclose(from_crop(local, *frame), landmarks, atol=1e-3)


def test_crops_show_the_landmarks_where_they_are(face):
    landmarks = (face * 90 + torch.tensor([110.0, 90.0, 0.0]))[None]
    picture = torch.zeros(1, 1, 200, 220)
    x, y = landmarks[0, 291, :2].int().tolist()
    picture[0, 0, y - 1 : y + 2, x - 1 : x + 2] = 1.0
    frame = crop_frame(landmarks)
    crop = sample_crops(picture, *frame, 128)[0, 0]
    at = np.unravel_index(int(crop.argmax()), crop.shape)
    expected = to_crop(landmarks, *frame)[0, 291, :2] * 128
    assert abs(at[1] + 0.5 - float(expected[0])) < 3 and abs(at[0] + 0.5 - float(expected[1])) < 3


def test_the_default_network_is_small():
    network = FaceNetwork()
    assert sum(p.numel() for p in network.detector.parameters()) < 500_000
    assert sum(t.numel() * 2 for t in network.state_dict().values()) < 6_000_000


def test_shipped_weights_fit_the_network(root):
    from safetensors import safe_open

    with safe_open(root / "checkpoints/face.safetensors", "pt") as file:
        shipped = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    assert shipped == {name: tuple(tensor.shape) for name, tensor in FaceNetwork().state_dict().items()}
