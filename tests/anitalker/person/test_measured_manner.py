"""How a person moves: blinks are counted, and heads are measured about where they are."""

from types import SimpleNamespace

import numpy as np
import pytest

from anitalker.models.lite import LiteFace
from anitalker.motion.manner import Manner
from anitalker.person import measured_manner
from anitalker.person.measured_manner import _head, blink_seconds


def film(monkeypatch, eyes):
    monkeypatch.setattr(measured_manner, "openings", lambda take: (None, take.eyes))
    return SimpleNamespace(eyes=np.float32(eyes), at_speech=lambda values: values)


def test_blinks_are_short_and_looks_down_are_none(monkeypatch):
    eyes = np.full(1000, 0.3)
    for start in (100, 300, 500, 700):
        eyes[start : start + 4] = 0.05
    eyes[800:850] = 0.1  # two seconds
    eyes[10:20] = np.nan
    assert blink_seconds([film(monkeypatch, eyes)]) == pytest.approx(990 / 25 / 4)


def test_too_few_blinks_tell_nothing(monkeypatch):
    eyes = np.full(1000, 0.3)
    eyes[100:104] = 0.05
    assert blink_seconds([film(monkeypatch, eyes)]) is None


def test_a_slow_turn_is_no_head_movement():
    slow = np.linspace(0, 1, 500)[:, None] * np.ones(20)
    nodding = slow + 0.1 * np.sin(np.arange(500))[:, None]
    free = np.arange(500) % 50 > 3
    inner = slice(100, 300)
    assert np.abs(_head(slow, free)[inner]).max() < 0.02
    assert _head(nodding, free)[inner].std() == pytest.approx(0.1 / 2**0.5, rel=0.1)


def test_lips_get_the_factor_at_which_they_spread_as_filmed(monkeypatch):
    """The drawn opening grows with the factor, and half of it is lost in drawing."""
    truth = np.random.default_rng(0).uniform(0, 0.1, 300)
    said = SimpleNamespace(opening=truth, free=np.ones(300, bool))
    monkeypatch.setattr(
        measured_manner, "rendered_openings", lambda model, finder, face, *_: 0.5 * face.manner.lips * truth
    )
    face = LiteFace(*[None] * 7, manner=Manner(lips=0.8, head=1.5))
    manner = measured_manner.fit_lips(None, None, face, [said], rounds=1)
    assert manner.lips == pytest.approx(2.0) and manner.head == 1.5
