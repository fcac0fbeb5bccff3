"""Probes on codes that say who it is, and on codes that do not."""

import numpy as np
import pytest

from scripts.evaluation.leakage import leakage, linear_probe


def test_codes_that_carry_a_name_are_found_out():
    rng = np.random.default_rng(0)
    clips = [(str(n), rng.normal(size=(60, 5)) + 8 * np.eye(5)[n]) for n in range(5)]
    found = leakage(clips)
    assert found["accuracy"] > 0.95 and found["chance"] == pytest.approx(0.2) and found["people"] == 5


def test_codes_that_say_nothing_are_at_chance():
    rng = np.random.default_rng(0)
    found = leakage([(str(n), rng.normal(size=(200, 5))) for n in range(5)])
    assert found["interval"][0] < 0.2 < found["interval"][1] and found["accuracy"] < 0.3


def test_many_frames_of_one_person_do_not_win():
    rng = np.random.default_rng(0)
    found = leakage([("many", rng.normal(size=(3000, 3))), ("few", rng.normal(size=(100, 3)))])
    assert found["accuracy"] == pytest.approx(0.5, abs=0.15)
    assert leakage([("alone", rng.normal(size=(50, 3)))]) == {}


def test_probe_is_a_linear_one():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (400, 2))
    side, ring = (x[:, 0] > 0.1).astype(int), (np.hypot(*x.T) > 0.8).astype(int)
    assert (linear_probe(x, side, x) == side).mean() > 0.97
    assert (linear_probe(x, ring, x) == ring).mean() < 0.75
