"""The estimate follows what has to be drawn; it is measured once and told only where it is long."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from anitalker import estimate
from anitalker.config import RenderOptions
from anitalker.estimate import DrawingSpeed, drawn_pixels, estimate_seconds

SPEED = DrawingSpeed(face=0.04, pixel=2e-7, code=0.02)


@pytest.fixture
def portrait(talker):
    return talker.portrait(np.random.default_rng(0).integers(0, 255, (400, 300, 3), np.uint8))


def test_seconds():
    assert SPEED.seconds(100, 1, 10**6, (1000, 1000)) == pytest.approx(100 * (0.04 + 0.2 + 0.02))
    assert SPEED.seconds(100, 2, 10**6, (1000, 1000)) == pytest.approx(100 * (0.08 + 0.2 + 0.02))
    assert SPEED.seconds(100, 1, 10**6, (1000, 1000), driven=True) == pytest.approx(100 * (0.06 + 0.2 + 0.02))


def test_only_what_lies_in_the_picture_counts(portrait):
    face = portrait.faces[0]
    assert drawn_pixels(face) == face.crop.side**2
    assert drawn_pixels(replace(face, crop=replace(face.crop, origin=(-50.0, 380.0)))) == (face.crop.side - 50) * 20


def test_estimates_grow_with_the_video_and_are_measured_once(talker, portrait, monkeypatch):
    first = estimate_seconds(talker.model, portrait, 10)
    assert first > 0
    monkeypatch.setattr(talker.model, "render_patches", lambda *_: pytest.fail("measured again"))
    assert estimate_seconds(talker.model, portrait, 20) == pytest.approx(2 * first)
    assert estimate_seconds(talker.model, portrait, 10, driven=True) > first
    assert estimate_seconds(talker.model, portrait, 10, RenderOptions(frame="crop")) > 0


@pytest.mark.parametrize(("count", "told"), [(3, False), (40, False), (4000, True)])
def test_long_jobs_are_announced_before_their_first_frame(caplog, monkeypatch, count, told):
    clock = iter(range(10**6))
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: 0.1 * next(clock))  # 0.1 s for the frames that are timed
    with caplog.at_level(logging.WARNING, "anitalker.estimate"):
        assert list(estimate.announced(iter(range(count)), count)) == list(range(count))
    assert not caplog.records  # nobody listens
    with caplog.at_level(logging.INFO, "anitalker.estimate"):
        frames = estimate.announced(iter(range(count)), count)
        assert next(frames) == 0
    assert [record.getMessage() for record in caplog.records] == (["about 100 s"] if told else [])
    assert list(frames) == list(range(1, count))
