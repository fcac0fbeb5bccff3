"""Finding with a fake network, choosing, cutting out and pasting back, and the second backend with a fake package."""

import math
import sys
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

from anitalker import face as faces
from anitalker.config import InputError
from anitalker.face import Face, FaceAlignmentFinder, FaceFinder, box_of, choose, crop, crop_again, native, paste_back
from anitalker.face_network import Detections, crop_frame, to_crop
from anitalker.landmarks import face_height, from_canonical
from anitalker.landmarks68 import POINTS, fit_ridge, widen


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


class Bright:
    """A detector that takes every bright square for a face, and a regressor that always answers with the same shape."""

    def __init__(self, face, jitter=0.0):
        self.detector, self.landmarks = (
            SimpleNamespace(config=SimpleNamespace(long_side=160), detect=self.detect),
            self.regress,
        )
        self.face, self.jitter, self.scales = to_crop(face[None], *crop_frame(face[None]))[0], jitter, []
        self.regress.__func__.config = SimpleNamespace(size=32)

    def to(self, device):
        return self

    def eval(self):
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
    found = FaceFinder(Bright(face)).find(with_square(240, 60, 80))
    assert len(found) == 1 and found[0].score == pytest.approx(0.8)
    x0, y0, x1, y1 = found[0].box
    assert (x0 + x1) / 2 == pytest.approx(280, abs=4) and (y0 + y1) / 2 == pytest.approx(100, abs=4)
    assert 60 < found[0].size < 100


def test_a_second_scale_only_if_nothing_is_found(face):
    network = Bright(face)
    FaceFinder(network).find(with_square(240, 60, 80))
    assert network.scales == [160]
    network.scales.clear()
    assert FaceFinder(network).find(np.zeros((300, 400, 3), np.uint8)) == []
    assert network.scales == [160, 320, 96]  # filled up to a multiple of 32


def test_what_does_not_settle_is_no_face(face):
    assert FaceFinder(Bright(face, jitter=0.1)).find(with_square(240, 60, 80)) == []


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


def test_choose(make_face):
    big, small = make_face(height=100), make_face(height=50)
    assert choose([big, small], "largest") == [big]
    assert choose([big, small], "all") == [big, small]
    assert choose([big, small], "1") == choose([big, small], 1) == [small]
    for found, which, words in (([], "largest", "no face"), ([big], 3, "1 face was found"), ([big], "left", "largest")):
        with pytest.raises(InputError, match=words):
            choose(found, which)


def test_the_crop_is_placed_as_in_the_data(picture, make_face):
    one = make_face()
    cut = crop(picture, one)
    assert cut.image.shape == (256, 256, 3) and cut.picture_size == (300, 400)
    assert float(face_height(cut.landmarks)) == pytest.approx(0.55, abs=0.01)
    assert cut.landmarks[[10, 152], 0].mean() == pytest.approx(0.5, abs=0.01)
    back = cut.landmarks * cut.side + np.array([*cut.origin, 0])
    assert np.allclose(back, one.landmarks, atol=1e-3)


@pytest.mark.parametrize("place", [(200, 140), (20, 20), (390, 280), (0, 290), (1000, 1000)])
def test_pasting_back_undoes_the_crop(picture, make_face, place):
    frame = crop(picture, make_face(*place))
    assert np.array_equal(paste_back(picture, native(picture, frame), frame), picture)


def test_only_the_inside_of_the_crop_changes(picture, make_face):
    frame = crop(picture, make_face(200, 140, height=90))
    patch = native(picture, frame).copy()
    patch[:] = 255 - patch
    before = picture.copy()
    pasted = paste_back(picture, patch, frame)
    x, y, side = int(frame.origin[0]), int(frame.origin[1]), int(frame.side)
    assert np.array_equal(picture, before)
    outside = np.ones((300, 400), bool)
    outside[y + 1 : y + side - 1, x + 1 : x + side - 1] = False
    assert np.array_equal(pasted[outside], picture[outside])
    middle = slice(y + side // 4, y + side // 2), slice(x + side // 4, x + side // 2)
    assert np.array_equal(pasted[middle], 255 - picture[middle])


def test_the_same_square_of_another_frame(picture, make_face):
    frame = crop(picture, make_face())
    again = crop_again(255 - picture, frame, make_face(210).landmarks)
    assert (again.origin, again.side) == (frame.origin, frame.side)
    assert again.landmarks[:, 0] == pytest.approx(frame.landmarks[:, 0] + 10 / frame.side, abs=1e-4)
    assert np.abs(again.image.astype(int) + frame.image - 255).max() <= 2


def test_borders_are_repeated(make_face):
    picture = np.full((300, 400, 3), 7, np.uint8)
    picture[:, 0] = 99
    image = native(picture, crop(picture, make_face(10, 140)))
    assert (image[:, 0] == 99).all()


def test_68_points_turn_with_the_face(face):
    torch.manual_seed(0)
    many = face[None] + torch.randn(200, 468, 1) * torch.randn(200, 1, 1) * 0.02
    fit = fit_ridge(many, noise=0.01)
    points = many[:2, list(POINTS), :2]
    straight = widen(fit, points)
    assert (straight - many[:2])[..., :2].norm(dim=-1).mean() < 0.02
    angle = 0.7
    turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    turned = widen(fit, points @ turn * 3 + 50)
    assert torch.allclose(turned[..., :2], straight[..., :2] @ turn * 3 + 50, atol=1e-3)
    assert torch.allclose(turned[..., 2], straight[..., 2] * 3, atol=1e-3)


@pytest.fixture
def fit(face):
    torch.manual_seed(0)
    return fit_ridge(face[None] + torch.randn(100, 468, 3) * 0.01, noise=0.01)


def fake_package(monkeypatch, aligner):
    package = SimpleNamespace(FaceAlignment=aligner, LandmarksType=SimpleNamespace(TWO_D=1))
    monkeypatch.setitem(sys.modules, "face_alignment", package)


def test_second_backend_gives_468_points(monkeypatch, fit, make_face):
    truth = [make_face(100, 100, 60), make_face(280, 150, 110, roll=10)]

    class Aligner:
        def __init__(self, kind, device, flip_input, compile=True):
            assert kind == 1 and device == "cpu" and compile is False

        def get_landmarks_from_image(self, picture, detected_faces=None, return_bboxes=False):
            if detected_faces is not None:
                return [truth[1].landmarks[list(POINTS), :2]]
            if not picture.any():
                return None, None, None
            boxes = [np.array([*one.box, 0.99]) for one in truth]
            return [one.landmarks[list(POINTS), :2] for one in truth], None, boxes

    fake_package(monkeypatch, Aligner)
    finder = FaceAlignmentFinder(fit, "cpu")
    found = finder.find(np.ones((300, 400, 3), np.uint8))
    assert [one.score for one in found] == [0.99, 0.99]
    for one, expected in zip(found, truth[::-1], strict=True):  # the largest first
        assert np.abs(one.landmarks - expected.landmarks)[:, :2].mean() < 0.02 * expected.size
    assert finder.find(np.zeros((300, 400, 3), np.uint8)) == []
    refined = finder.refine(np.ones((1, 300, 400, 3), np.uint8), truth[1].landmarks[None])
    assert np.allclose(refined[0], found[0].landmarks, atol=1e-3)


@pytest.mark.parametrize("fault", [URLError("no route"), FileNotFoundError("gone"), EOFError("half a file")])
def test_missing_weights_say_how_to_get_them(monkeypatch, fit, fault):
    def aligner(kind, device, flip_input):
        raise fault

    fake_package(monkeypatch, aligner)
    with pytest.raises(InputError, match=r"2DFAN4-11f355bf06\.pth\.tar.* into .*checkpoints") as caught:
        FaceAlignmentFinder(fit)
    assert "\n" not in str(caught.value)


def test_missing_package_says_how_to_get_it(monkeypatch, fit):
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(InputError, match="pip install face-alignment"):
        FaceAlignmentFinder(fit)


def test_shipped_network_finds_the_example(example_portrait):
    from anitalker.weights import load_face

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
    assert alone[0].size >= faces.SMALLEST
