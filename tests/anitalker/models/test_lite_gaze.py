"""Gaze from the motion's last numbers to the pixels of the eyes, and where eyes are left as they are."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from anitalker.config import GAZE_SIZE, InputError, RenderOptions
from anitalker.decoder.eyeballs import eye_geometry
from anitalker.decoder.iris import IrisPlaces
from anitalker.faces.detection import Face
from anitalker.models import lite_face
from anitalker.models.lite_face import IRISES_UNSEEN, find_eyes
from anitalker.motion import occlusion
from anitalker.streaming.talker import StreamingTalker


class Locator:
    """Finds irises in the middle of the eyes, with an expected error."""

    def __init__(self, error=0.01):
        self.error = error

    def locate(self, pictures, landmarks):
        centre = torch.tensor([[[0.5, -0.05], [0.5, -0.05]]])
        return IrisPlaces(centre, torch.full((1, 2), 0.2), torch.full((1, 2), self.error))

    def to(self, device):
        return self


@pytest.fixture
def seeing(talker, monkeypatch):
    """The talker, whose locator is sure, and takes no eyes for shut."""
    monkeypatch.setattr(talker.model, "_load_iris", Locator)
    for module in (lite_face, occlusion):
        monkeypatch.setattr(module, "SHUT_EYE_OPENING", 0.0)
    return talker


@pytest.fixture
def portrait(seeing, example_portrait):
    return seeing.portrait(example_portrait)


def gazes(*rows):
    return torch.tensor(rows)


def test_eyes_alone_change_with_the_gaze(seeing, portrait):
    (face,) = portrait.faces
    assert face.eyes is not None
    motion = torch.cat([face.motion.expand(3, -1), gazes((0.2, 0.0, 0.0), (0.2, 0.0, 1.0), (-0.2, 0.1, 1.0))], 1)
    plain, *frames = (torch.from_numpy(frame).int() for frame in seeing.model.render_frames(face, motion))
    codes = next(iter(seeing.model.render_frames(face, face.motion)))
    assert (torch.from_numpy(codes).int() - plain).abs().max() <= 2  # no share: lids' edges alone differ
    x, y = (face.landmarks[0, [33, 133, 263, 362], k] * 256 for k in (0, 1))
    reach = 0.6 * float((x[1] - x[0]).abs()) + 2
    for frame in frames:
        change = (frame - plain).abs().amax(-1)
        rows, columns = torch.nonzero(change > 6, as_tuple=True)
        assert len(rows) > 20
        assert y.min() - reach < rows.min() and rows.max() < y.max() + reach
        assert x.min() - 3 < columns.min() and columns.max() < x.max() + 3
    assert (frames[0] - frames[1]).abs().max() > 20


def test_patches_are_those_of_the_frames(seeing, portrait):
    """In the picture's own pixels, too, the eyes change and nothing else does."""
    (face,) = portrait.faces
    look = torch.cat([face.motion, gazes((0.25, -0.1, 1.0))], 1)
    (patch,) = seeing.model.render_patches(face, look)
    before = portrait.picture[patch.place]
    change = abs(patch.pixels.astype(int) - before).max(-1)
    assert (change > 10).any()


def test_streams_and_recordings_have_a_gaze(seeing, portrait, clicks):
    options = RenderOptions(gaze="12,-6", frame="crop", steps=1)
    (motion,) = seeing.motion(portrait, clicks, options)
    assert motion.shape[1] == 20 + GAZE_SIZE
    assert torch.rad2deg(motion[-1, 20:22]) == pytest.approx(torch.tensor([12.0, -6.0]), abs=1e-4)
    stream = StreamingTalker(seeing, portrait, options)
    moved = torch.cat([stream.motion(torch.zeros(640).numpy())[0] for _ in range(30)])
    assert moved.shape[1] == 20 + GAZE_SIZE and moved[0, -1] == 0 and moved[-1, -1] == 1
    kept = StreamingTalker(seeing, portrait, replace(options, gaze="portrait"))
    assert kept.motion(torch.zeros(16_000).numpy())[0].shape[1] == 20
    spoken = seeing.model.speak(seeing.model.speech_features(torch.zeros(3200)), portrait.faces[0].motion, options, 0)
    assert spoken.shape[1] == 20  # of a dub, whose eyes are filmed


def test_shut_covered_and_uncertain_eyes_stay(seeing, portrait, monkeypatch):
    (face,) = portrait.faces
    image, pose = torch.zeros(1, 3, 256, 256), face.motion[:, :6]
    assert find_eyes(None, image, face.landmarks, pose) is None
    assert find_eyes(Locator(0.5), image, face.landmarks, pose) is None
    assert find_eyes(Locator(), image, face.landmarks, pose) is not None
    monkeypatch.setattr(lite_face, "SHUT_EYE_OPENING", 10.0)
    assert find_eyes(Locator(), image, face.landmarks, pose) is None
    unmoved = replace(face, eyes=None)
    motion = torch.cat([face.motion, gazes((0.2, 0.0, 1.0))], 1)
    frames = [next(iter(seeing.model.render_frames(unmoved, m))) for m in (motion, face.motion)]
    assert (frames[0] == frames[1]).all()


def test_uncertain_irises_are_told(seeing, portrait, monkeypatch):
    (face,), finder = portrait.faces, seeing.finder()
    monkeypatch.setattr(type(finder), "calibrated", True)
    found = Face((0, 0, 1, 1), 1.0, face.crop.landmarks * 256)
    for eyes, told in ((face.eyes, False), (None, True)):
        check = seeing.model.check_face(found, face.crop, finder, replace(face, eyes=eyes))
        assert (IRISES_UNSEEN in check.occlusion_warnings) == told


@pytest.mark.slow
def test_shipped_eyes_look_at_the_camera_and_shut_ones_stay(root, caplog):
    from anitalker import pipeline

    talker = pipeline.load("lite", "cpu")
    (face,) = talker.portrait(root / "app/examples/portrait.webp").faces
    assert face.eyes is not None and float(torch.rad2deg(face.eyes.own).norm()) < 8
    places = talker.model.iris.locate(face.prepared.picture, face.landmarks)
    assert float(places.error.max()) < lite_face.MAX_IRIS_ERROR / 2
    geometry = eye_geometry(places, face.landmarks, face.motion[:, :6])
    torch.testing.assert_close(geometry.centre, face.eyes.centre)
    picture = Image.open(root / "app/examples/portrait.webp").convert("RGB")
    for eye in ((33, 133), (263, 362)):
        points = face.crop.landmarks[list(eye), :2] * face.crop.side + face.crop.origin
        (x, y), width = points.mean(0), abs(points[0, 0] - points[1, 0])
        box = tuple(int(v) for v in (x - width, y - 0.7 * width, x + width, y + 0.7 * width))
        picture.paste((12, 10, 14), box)  # dark glasses
    (covered,) = talker.portrait(np.asarray(picture)).faces
    assert covered.eyes is None and "eyes" in caplog.text


def test_the_original_has_none():
    from anitalker.models.original import Original

    for gaze in ("camera", "5,5"):
        with pytest.raises(InputError, match=f"--gaze {gaze} needs eyes that are drawn"):
            Original.check(_steps(), RenderOptions(gaze=gaze))


def _steps():
    class Steps:
        steps = 10

    return Steps()
