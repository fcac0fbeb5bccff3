"""Codes against the labels that they were made of; probes on codes that say who it is, and on codes that do not."""

import numpy as np
import pytest

from scripts.evaluation import codes
from scripts.evaluation.codes import leakage, linear_probe


def test_codes_of_the_oracle_agree_with_the_labels(fakes):
    known = fakes.clip()
    result = codes.run_accuracy(fakes.session(fakes.Oracle(known), [known]))["codes"]
    assert result["pose_r2"]["yaw"] == pytest.approx(1)
    assert result["lip_r"] == pytest.approx(1, abs=1e-5)


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
    variants = codes.stage_variants(np.float32([0.2, 0.3, 0.5]))
    assert list(variants) == ["all", "without_1", "without_2", "without_3", "last_alone"]
    np.testing.assert_allclose([weights.sum() for weights in variants.values()], 1, rtol=1e-6)
    np.testing.assert_allclose(variants["without_2"], [0.2 / 0.7, 0, 0.5 / 0.7], rtol=1e-6)
    assert variants["last_alone"].tolist() == [0, 0, 1]


@pytest.mark.slow
def test_the_stage_that_knows_is_missed(fakes):
    clips = [fakes.clip(0, "a"), fakes.clip(1, "b")]
    model = fakes.Oracle(*clips)
    model.poses = lambda labels: np.eye(1, 6) * 2 * np.arange(len(labels))[:, None]  # every second frame is read
    report = codes.run_hal(fakes.session(model, clips, "--stride", "1"))["hal"]
    stages = report["stages"]
    assert stages["all"]["pose_r2"] == pytest.approx(1) == stages["without_2"]["pose_r2"]
    assert stages["without_1"]["pose_r2"] < stages["all"]["pose_r2"] - 0.1 > stages["last_alone"]["pose_r2"]
    assert stages["all"]["lip_r_within_clips"] > 0.99 and stages["last_alone"]["lip_r_within_clips"] == 0
    assert report["other_persons_code"]["psnr_face"]["difference"] == 0  # the oracle's pictures need no code
    assert report["leakage"]["identity_code"]["accuracy"] == pytest.approx(0.5)  # the same for everybody
