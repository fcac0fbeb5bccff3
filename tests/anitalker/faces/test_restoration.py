"""Restoration with networks whose output is known, and the real loading code with random weights (slow)."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from anitalker.config import InputError, RenderOptions
from anitalker.faces import restoration
from anitalker.weights import registry
from anitalker.weights.download import url_of


@pytest.fixture
def smooth():
    """A picture [300,400,3] without fine detail, which survives being resampled."""
    rows, columns = np.mgrid[:300, :400]
    return np.stack([rows * 0.8, columns * 0.6, 120 + 60 * np.sin(columns / 40)], -1).astype(np.uint8)


def white(square):
    return torch.ones_like(square)


def same(square):
    return square


@pytest.mark.parametrize("roll", [0, 30, -80])
def test_the_square_is_the_one_that_the_network_expects(make_face, roll):
    """Eyes, nose and mouth lie in it near TEMPLATE_POINTS, as nearly as the shape of this synthetic face allows."""
    points = make_face(roll=roll).landmarks
    centre, side, axes = restoration.aligned_square(points)
    eyes = [points[list(contour), :2].mean(0) for contour in (restoration.RIGHT_EYE, restoration.LEFT_EYE)]
    points = np.stack([*eyes, *points[[1, 61, 291], :2]])
    aligned = (points - centre) @ axes.T / side * restoration.SIZE + restoration.SIZE / 2
    assert np.abs(aligned - np.array(restoration.TEMPLATE_POINTS)).max() < 25  # of 512
    assert np.allclose(axes @ axes.T, np.eye(2), atol=1e-5) and np.linalg.det(axes) > 0  # not mirrored


@pytest.mark.parametrize("roll", [0, 40])
def test_what_the_network_does_not_change_stays(smooth, make_face, roll):
    """Sampling the square and pasting it back neither shifts nor blurs."""
    out = restoration.restore(smooth, [make_face(roll=roll).landmarks], same)
    assert np.abs(out.astype(int) - smooth).max() <= 2 and out is not smooth


def test_only_the_face_is_drawn_again(smooth, make_face):
    face = make_face(height=110.0)
    out = restoration.restore(smooth, [face.landmarks], white)
    changed = (out != smooth).any(-1)
    x0, y0, x1, y1 = (round(v) for v in face.box)
    assert (out[(y0 + y1) // 2, (x0 + x1) // 2] >= 254).all()
    reach = round(0.3 * (y1 - y0))
    changed[y0 - reach : y1 + reach, x0 - reach : x1 + reach] = False
    assert not changed.any()
    steps = np.abs(np.diff(out.astype(int), axis=1)).max()
    assert steps < 60  # a soft seam: white stands on darker colours here


def test_faces_at_the_border_and_large_ones(smooth, make_face, caplog):
    out = restoration.restore(smooth, [make_face(x=5.0, y=290.0).landmarks], white)
    assert out.shape == smooth.shape and (out != smooth).any()
    large = restoration.restore(smooth, [make_face(height=900.0).landmarks], white)
    assert np.array_equal(large, smooth) and "stays as it is" in caplog.text


def test_missing_weights_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(InputError, match="anitalker models fetch gfpgan"):
        restoration.load()


def test_weights_come_from_their_authors_releases():
    entry = registry.REGISTRY["gfpgan"]
    assert url_of(entry) == entry.url and entry.url.startswith("https://github.com/TencentARC/GFPGAN/releases/")
    assert entry.url.endswith(entry.file)


def test_other_weights_are_refused(tmp_path, monkeypatch):
    torch.save({"params_ema": {"conv.weight": torch.zeros(3, 3)}}, tmp_path / "GFPGANv1.4.pth")
    with pytest.raises(InputError, match="not GFPGAN's"):
        restoration.load(tmp_path / "GFPGANv1.4.pth")
    monkeypatch.setenv("ANITALKER_CHECKPOINTS", str(tmp_path))
    with pytest.raises(InputError, match="SHA-256"):  # by its registry name it must be the known file
        restoration.load()


def test_a_missing_package_names_its_extra(tmp_path, monkeypatch):
    torch.save({"params_ema": dict.fromkeys(restoration.GFPGAN_KEYS, torch.zeros(3))}, tmp_path / "GFPGANv1.4.pth")
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(InputError, match=r"anitalker\[enhance\]"):
        restoration.load(tmp_path / "GFPGANv1.4.pth")


def test_the_option():
    assert RenderOptions().enhance == "" and RenderOptions(enhance="gfpgan").enhance == "gfpgan"
    with pytest.raises(InputError, match="enhance is 'codeformer'"):
        RenderOptions(enhance="codeformer")


def test_the_portrait_is_drawn_again_once(talker, example_portrait, monkeypatch):
    """The chosen face of the portrait passes the network before it moves, and frames show it."""
    seen = []

    def count(square):
        seen.append(square.shape)
        return white(square)

    monkeypatch.setattr(restoration, "load", lambda *_: count)
    plain = talker.portrait(example_portrait)
    frames = list(talker.frames(example_portrait, np.ones(1500, np.float32), RenderOptions(enhance="gfpgan")))
    assert seen == [(1, 3, 512, 512)] and len(frames) == 3
    assert frames[0].mean() > plain.picture.mean() + 5


@pytest.mark.slow
def test_gfpgan_s_own_architecture(tmp_path, smooth, make_face, monkeypatch):
    """Random weights in the shapes and spelling of the published file: loaded as tensors, twice the same answer."""
    from spandrel.architectures.GFPGAN import GFPGAN

    torch.manual_seed(0)
    path = tmp_path / "GFPGANv1.4.pth"
    torch.save({"params_ema": GFPGAN().state_dict()}, path)
    entry = replace(registry.REGISTRY["gfpgan"], sha256=registry.sha256(path))
    monkeypatch.setitem(registry.REGISTRY, "gfpgan", entry)
    monkeypatch.setenv("ANITALKER_CHECKPOINTS", str(tmp_path))
    network = restoration.load()
    first, second = (restoration.restore(smooth, [make_face().landmarks], network) for _ in range(2))
    assert first.shape == smooth.shape and np.array_equal(first, second) and (first != smooth).any()
