"""Which scales are searched, and how what they find is merged."""

import pytest
import torch

from anitalker.faces import scales
from anitalker.faces.face_network import Detections
from anitalker.faces.scales import search_sides


def merge(found, large=1000):
    return scales.merge(found, large)


def seen(*faces):
    """Detections from (x, y, side, score) of square boxes."""
    boxes = torch.tensor([[x, y, x + side, y + side] for x, y, side, _ in faces], dtype=torch.float32).reshape(-1, 4)
    return Detections(boxes, torch.tensor([float(score) for *_, score in faces]), boxes[:, None, :2].repeat(1, 4, 1))


@pytest.mark.parametrize(
    ("picture", "sides"),
    [(256, [320, 160]), (320, [320, 160]), (640, [320, 160, 640]), (1920, [320, 160, 640, 1280])],
)
def test_finer_scales_only_where_the_picture_has_more_detail(picture, sides):
    assert search_sides(320, picture) == sides


def test_a_large_face_does_not_hide_small_ones():
    found = merge([seen((0, 0, 200, 0.95)), seen(), seen((400, 0, 60, 0.9), (500, 0, 60, 0.85), (600, 0, 60, 0.7))])
    assert found.boxes[:, 0].tolist() == [0, 400, 500]  # the last one is weak, and no other scale shows it


def test_two_scales_together_are_sure():
    found = merge([seen(), seen((10, 10, 80, 0.6)), seen((14, 14, 80, 0.7))])
    assert found.scores.tolist() == pytest.approx([0.7])
    assert 10 < float(found.boxes[0, 0]) < 14 and 10 < float(found.points[0, 0, 0]) < 14


def test_a_sure_face_of_the_usual_scale_stays_as_it_is():
    found = merge([seen((10, 10, 80, 0.9)), seen(), seen((14, 14, 80, 0.97))])
    assert found.boxes[0, 0] == 10 and found.scores.tolist() == pytest.approx([0.9])


def test_other_scales_do_not_vouch_for_a_large_face():
    """A face cut into shuffled tiles had .5 at the usual scale, .7 at finer ones."""
    found = [seen((10, 10, 80, 0.5)), seen(), seen((14, 14, 80, 0.7))]
    assert merge(found, large=40).scores.tolist() == pytest.approx([0.5])
    assert merge(found, large=100).scores.tolist() == pytest.approx([0.7])
    finer = [seen(), seen((10, 10, 80, 0.6)), seen((14, 14, 80, 0.7))]
    assert len(merge(finer, large=40).scores) == 0 and len(merge(finer, large=100).scores) == 1


def test_a_piece_of_a_face_is_none():
    """At a fine scale an eye or a nose can look like a small face."""
    found = merge([seen((0, 0, 300, 0.9)), seen(), seen((100, 100, 60, 0.85), (290, 100, 60, 0.85))])
    assert found.boxes[:, 0].tolist() == [0, 290]


def test_nothing():
    assert len(merge([seen(), seen()]).boxes) == 0
