"""Detection with a fake network, selection, cropping."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from anitalker.config import InputError
from anitalker.faces import detection
from anitalker.faces.crop import crop_face, crop_pixels, moved, recrop
from anitalker.faces.detection import MIN_FACE_PIXELS, FaceFinder, crop_change, select_faces
from anitalker.faces.face_network import Detections, crop_frame, to_crop
from anitalker.faces.landmarks import face_height


class Bright:
    """A detector that takes every bright square for a face, and a regressor that always answers with the same shape."""

    def __init__(self, face, jitter=0.0):
        self.detector, self.landmarks = (
            SimpleNamespace(config=SimpleNamespace(long_side=160), detect=self.detect),
            self.regress,
        )
        self.face, self.jitter, self.scales = to_crop(face[None], *crop_frame(face[None]))[0], jitter, []
        self.regress.__func__.config, self.regress.__func__.coarse = SimpleNamespace(size=32), self.regress

    def to(self, device):
        return self

    def folded(self):
        return self

    def detect(self, pictures, threshold):
        self.scales.append(max(pictures.shape[-2:]))
        bright = (pictures[0].mean(0) > 0.5).nonzero().float()
        if len(bright) < 9:
            return [Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, 4, 2))]
        box = torch.cat([bright.amin(0).flip(0), bright.amax(0).flip(0) + 1])
        x, y = (box[:2] + box[2:]) / 2
        points = torch.stack(
            [torch.stack([x - 5, y - 5]), torch.stack([x + 5, y - 5]), torch.stack([x, y]), torch.stack([x, y + 5])]
        )
        return [Detections(box[None], torch.tensor([0.8]), points[None])]

    def regress(self, crops):
        return self.face[None].repeat(len(crops), 1, 1) + self.jitter * torch.randn(len(crops), 468, 3)


def with_square(x, y, side, size=(300, 400)):
    picture = np.zeros((*size, 3), np.uint8)
    picture[y : y + side, x : x + side] = 255
    return picture


def test_found_in_the_pictures_own_pixels(face):
    faces = FaceFinder(Bright(face)).find(with_square(240, 60, 80))
    assert len(faces) == 1 and faces[0].score == pytest.approx(0.8)
    x0, y0, x1, y1 = faces[0].box
    assert (x0 + x1) / 2 == pytest.approx(280, abs=4) and (y0 + y1) / 2 == pytest.approx(100, abs=4)
    assert 60 < faces[0].size < 100


def test_scales(face):
    network = Bright(face)
    FaceFinder(network).find(with_square(240, 60, 80))
    assert network.scales == [160, 96, 320, 640]  # padded to multiples of 32; the picture has 400 pixels
    network.scales.clear()
    assert FaceFinder(network).find(np.zeros((150, 100, 3), np.uint8)) == []
    assert network.scales == [160, 96, 320]  # the last one because nothing was found


def test_a_face_is_confirmed_near_its_box(face):
    finder = FaceFinder(Bright(face))
    picture = with_square(240, 60, 80)
    score, box = finder.confirm(picture, (230.0, 50.0, 310.0, 130.0))
    assert score == pytest.approx(0.8) and box == pytest.approx((240, 60, 320, 140), abs=5)
    for away in ((0.0, 0.0, 60.0, 60.0), (900.0, 60.0, 980.0, 140.0), (-200.0, 60.0, -120.0, 140.0)):
        assert finder.confirm(picture, away) == (0.0, away)


def test_landmarks_that_do_not_converge_are_no_face(face):
    assert FaceFinder(Bright(face, jitter=0.1)).find(with_square(240, 60, 80)) == []


def test_a_third_estimate_only_where_the_second_moved_the_crop(face, monkeypatch):
    """The fake's answer is the crop's own shape, which fits the detector's square box by chance alone."""
    estimates, finder = [], FaceFinder(Bright(face))
    regress = FaceFinder._regress
    monkeypatch.setattr(FaceFinder, "_regress", lambda *a: estimates.append(a) or regress(*a))
    for far, expected in ((math.inf, 2), (-1.0, 3)):
        estimates.clear()
        monkeypatch.setattr(detection, "MIN_CROP_CHANGE", far)
        assert len(finder.find(with_square(240, 60, 80))) == 1
        assert len(estimates) == expected


def test_change_of_a_crop():
    square = (torch.tensor([[50.0, 50]]), torch.tensor([100.0]), torch.eye(2)[None])
    turned = torch.tensor([[[math.cos(0.03), math.sin(0.03)], [-math.sin(0.03), math.cos(0.03)]]])
    assert crop_change(square, square) == 0
    assert crop_change(square, (square[0] + torch.tensor([3.0, 4.0]), square[1], square[2])) == pytest.approx(0.05)
    assert crop_change(square, (square[0], square[1] * 0.9, square[2])) == pytest.approx(-math.log(0.9), rel=1e-4)
    assert crop_change(square, (square[0], square[1], turned)) == pytest.approx(0.03, rel=1e-3)


def test_tiny_pictures_have_no_face(face):
    assert FaceFinder(Bright(face)).find(with_square(2, 2, 15, size=(20, 20))) == []


def test_a_face_is_followed_and_its_loss_reported(face):
    frames = [with_square(100 + 2 * i, 60, 80) for i in range(4)] + [np.zeros((300, 400, 3), np.uint8)] * 10
    network = Bright(face)
    tracked = list(FaceFinder(network).track(frames, smooth=False))
    assert len(tracked) == len(frames)
    assert tracked[0].score > 0 and tracked[-1].score == 0
    with pytest.raises(InputError, match="no face"):
        next(FaceFinder(network).track([np.zeros((300, 400, 3), np.uint8)]))


def test_angles_have_the_signs_of_the_pose(make_face):
    rest = make_face()
    for name, angle in (("yaw", 20), ("pitch", 15), ("roll", -25)):
        turned = make_face(**{name: angle})
        assert getattr(turned, name) - getattr(rest, name) == pytest.approx(angle, abs=1.5)
    assert make_face(yaw=40).quality["away"] > 35 > rest.quality["away"]


def test_selection(make_face):
    big, small = make_face(height=100), make_face(height=50)
    assert select_faces([big, small], "largest") == [big]
    assert select_faces([big, small], "all") == [big, small]
    assert select_faces([big, small], "1") == select_faces([big, small], 1) == [small]
    for faces, which, words in (([], "largest", "no face"), ([big], 3, "1 face was found"), ([big], "left", "largest")):
        with pytest.raises(InputError, match=words):
            select_faces(faces, which)
    with pytest.raises(InputError, match=r"no face was found in the driving video 'a\.mp4'"):
        select_faces([], "largest", "the driving video 'a.mp4'")


def test_the_crop_is_placed_as_in_the_data(picture, make_face):
    face = make_face()
    cut = crop_face(picture, face)
    assert cut.image.shape == (256, 256, 3) and cut.picture_size == (300, 400)
    assert float(face_height(cut.landmarks)) == pytest.approx(0.55, abs=0.01)
    assert cut.landmarks[[10, 152], 0].mean() == pytest.approx(0.5, abs=0.01)
    back = cut.landmarks * cut.side + np.array([*cut.origin, 0])
    assert np.allclose(back, face.landmarks, atol=1e-3)


def test_the_same_square_of_another_frame(picture, make_face):
    frame = crop_face(picture, make_face())
    again = recrop(255 - picture, frame, make_face(210).landmarks)
    assert (again.origin, again.side) == (frame.origin, frame.side)
    assert again.landmarks[:, 0] == pytest.approx(frame.landmarks[:, 0] + 10 / frame.side, abs=1e-4)
    assert np.abs(again.image.astype(int) + frame.image - 255).max() <= 2


def test_a_moved_square(picture, make_face):
    frame = crop_face(picture, make_face())
    here, nothing = np.array([200.0, 140.0]), np.zeros(2)
    assert (recrop(picture, moved(frame, here, nothing, 0.0)).image == frame.image).all()
    right = moved(frame, here, np.array([10.0, -5.0]), 0.0)
    shifted = np.roll(picture, (5, -10), (0, 1))
    assert (recrop(picture, right).image == recrop(shifted, frame).image).all()
    large = moved(frame, here, nothing, math.log(2))
    assert large.side == 2 * frame.side and np.add(large.origin, frame.origin * np.array(-2)) == pytest.approx(-here)
    ramp = np.repeat(np.arange(400, dtype=np.uint8)[None, :, None] // 2, 300, 0).repeat(3, 2)
    half = recrop(ramp, moved(frame, here, np.array([0.5, 0.0]), 0.0)).image.astype(float) - recrop(ramp, frame).image
    assert 0.1 < half[:, 100:150].mean() < 0.4  # half a pixel of a ramp of half a level a pixel


def test_borders_are_repeated(make_face):
    picture = np.full((300, 400, 3), 7, np.uint8)
    picture[:, 0] = 99
    image = crop_pixels(picture, crop_face(picture, make_face(10, 140)))
    assert (image[:, 0] == 99).all()


def test_shipped_network_finds_the_example(example_portrait):
    from anitalker.models.loading import load_face

    portrait = np.asarray(Image.open(example_portrait).convert("RGB"))
    height, width = portrait.shape[:2]
    scene = np.full((height * 2, width * 2, 3), 90, np.uint8)
    scene[:height, :width] = portrait
    scene[height : height * 2, width : width * 2] = portrait[:, ::-1]
    finder = FaceFinder(load_face())
    alone, both = finder.find(portrait), finder.find(scene)
    assert len(alone) == 1 and len(both) == 2
    assert both[0].yaw == pytest.approx(-both[1].yaw, abs=4)
    assert finder.find(np.full((200, 300, 3), 128, np.uint8)) == []
    assert finder.find(portrait[:20, :20]) == []
    assert alone[0].size >= MIN_FACE_PIXELS
