"""Probes on codes that say who it is, and on codes that do not; HAL's stages with an oracle."""

import numpy as np
import pytest

from scripts.evaluation.hal import HalChecks, variants
from scripts.evaluation.judges import Judges
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


def test_variants_add_up_to_one():
    found = variants(np.float32([0.2, 0.3, 0.5]))
    assert list(found) == ["all", "without_1", "without_2", "without_3", "last_alone"]
    np.testing.assert_allclose([weights.sum() for weights in found.values()], 1, rtol=1e-6)
    np.testing.assert_allclose(found["without_2"], [0.2 / 0.7, 0, 0.5 / 0.7], rtol=1e-6)
    assert found["last_alone"].tolist() == [0, 0, 1]


def test_the_stage_that_knows_is_missed(fakes):
    clips = [fakes.clip(0, "a"), fakes.clip(1, "b")]
    strangers = {known.row["id"]: (known.row["identity"], np.ones(8)) for known in clips}
    part = HalChecks(fakes.Oracle(clips[0]), Judges(), strangers, stride=1)
    for known in clips:
        part.subject = fakes.Oracle(known)
        part.subject.poses = lambda labels, of=known: part.subject.codes(of.frames[:: 2 * part.stride])[:, :6]
        part.add(known, part.subject.codes(known.frames))
    report = part.result()
    stages = report["stages"]
    assert stages["all"]["pose_r2"] == pytest.approx(1) == stages["without_2"]["pose_r2"]
    assert stages["without_1"]["pose_r2"] < stages["all"]["pose_r2"] - 0.1 > stages["last_alone"]["pose_r2"]
    assert stages["all"]["lip_r_within_clips"] > 0.99 and stages["last_alone"]["lip_r_within_clips"] == 0
    assert report["other_persons_code"]["psnr_face"]["difference"] == 0  # the oracle's pictures need no code
    assert report["leakage"]["identity_code"]["accuracy"] == pytest.approx(0.5)  # the same for everybody
