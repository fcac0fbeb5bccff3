"""Sharpness of pictures whose answer is known, and of a small model beside the bicubic enlargement."""

import json

import numpy as np
import pytest

from anitalker.config import RenderOptions
from scripts import study
from scripts.studies import sharpness


def test_the_variance_of_the_laplacian():
    board = np.indices((40, 40)).sum(0) % 2
    board = np.repeat(board[..., None] * 100, 3, -1).astype(np.uint8)
    inside = np.zeros((40, 40), bool)
    inside[5:35, 5:35] = True
    assert sharpness.laplacian_variance(board, inside) == pytest.approx(400**2, rel=1e-4)  # -400 and 400 in turn
    assert sharpness.laplacian_variance(np.full((40, 40, 3), 77, np.uint8), inside) == pytest.approx(0, abs=1e-6)
    half = sharpness.laplacian_variance(board // 2, inside)
    assert half == pytest.approx(200**2, rel=1e-4)


def test_regions_around_points():
    points = np.array([[10.0, 10.0], [30.0, 20.0]])
    box = sharpness.region(points, (40, 50))
    assert box.sum() == 20 * 10 and box[10:20, 10:30].all()
    ellipse = sharpness.region(points, (40, 50), order=2)
    assert ellipse[15, 20] and not ellipse[10, 10]
    assert ellipse.sum() == pytest.approx(np.pi * 10 * 5, rel=0.05)
    assert sharpness.region(points, (40, 50), grow=0.15).sum() > box.sum()


def test_a_model_beside_bicubic(talker):
    """On fine noise the enlarged crop of 256 pixels is soft; outside the crop nothing changes."""
    picture = np.random.default_rng(0).integers(0, 256, (500, 520, 3), np.uint8)
    row = sharpness.measure(talker, picture, np.ones(2000, np.float32), 2, RenderOptions())
    assert row["frames"] == 2 and row["changed_outside_crop"] == 0
    assert set(row["ours"]) == set(row["bicubic"]) == {"face", "mouth", "eyes"}
    assert row["bicubic"]["face"] < 0.5 * row["ours"]["face"]


def test_the_command(talker, monkeypatch, example_portrait, capsys):
    monkeypatch.setattr(sharpness, "load", lambda *_: talker)
    monkeypatch.setattr(sharpness, "read_audio", lambda path: np.ones(2400, np.float32) * 0.1)
    monkeypatch.setattr(sharpness, "EVERY", 2)
    assert study.main(["sharpness", str(example_portrait)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert json.loads(lines[0])["frames"] == 2
    assert lines[1].startswith("ours") and lines[2].startswith("bicubic")
