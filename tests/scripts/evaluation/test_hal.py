"""HAL's stages with an oracle that keeps all it knows in the first."""

import numpy as np
import pytest

from scripts.evaluation import hal


def test_variants_add_up_to_one():
    variants = hal.stage_variants(np.float32([0.2, 0.3, 0.5]))
    assert list(variants) == ["all", "without_1", "without_2", "without_3", "last_alone"]
    np.testing.assert_allclose([weights.sum() for weights in variants.values()], 1, rtol=1e-6)
    np.testing.assert_allclose(variants["without_2"], [0.2 / 0.7, 0, 0.5 / 0.7], rtol=1e-6)
    assert variants["last_alone"].tolist() == [0, 0, 1]


def test_the_stage_that_knows_is_missed(fakes):
    clips = [fakes.clip(0, "a"), fakes.clip(1, "b")]
    model = fakes.Oracle(*clips)
    model.poses = lambda labels: np.eye(1, 6) * 2 * np.arange(len(labels))[:, None]  # every second frame is read
    report = hal.run(fakes.session(model, clips, "--stride", "1"))["hal"]
    stages = report["stages"]
    assert stages["all"]["pose_r2"] == pytest.approx(1) == stages["without_2"]["pose_r2"]
    assert stages["without_1"]["pose_r2"] < stages["all"]["pose_r2"] - 0.1 > stages["last_alone"]["pose_r2"]
    assert stages["all"]["lip_r_within_clips"] > 0.99 and stages["last_alone"]["lip_r_within_clips"] == 0
    assert report["other_persons_code"]["psnr_face"]["difference"] == 0  # the oracle's pictures need no code
    assert report["leakage"]["identity_code"]["accuracy"] == pytest.approx(0.5)  # the same for everybody
