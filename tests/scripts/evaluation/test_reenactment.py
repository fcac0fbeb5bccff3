"""Self-reenactment with an oracle and a copier as the model."""

import numpy as np
import pytest

from scripts.evaluation import metrics
from scripts.evaluation.reenactment import CodeAccuracy, SelfReenactment


def test_oracle_is_perfect_and_beats_copying(fakes):
    known = fakes.clip()
    subject = fakes.Oracle(known)
    part = SelfReenactment(subject, np.zeros(20, np.float32), stride=13)
    part.add(known, subject.codes(known.frames))
    result = part.result()
    assert result["self_reenactment"]["psnr"] == metrics.CEILING
    assert result["self_reenactment"]["landmark"] == 0
    assert result["self_reenactment"]["ssim"] == pytest.approx(1, abs=1e-6)
    assert result["copy"]["psnr"] < 10 and result["copy"]["landmark"] > 0.005
    # With code 0 for everything the oracle shows frame 0: what the codes were worth.
    assert result["mean_code"]["cost_psnr_face"] > 80


def test_copier_scores_exactly_what_the_copy_baseline_scores(fakes):
    known = fakes.clip()
    subject = fakes.Copier(known)
    part = SelfReenactment(subject, np.zeros(20, np.float32), stride=13)
    part.add(known, subject.codes(known.frames))
    result = part.result()
    for key in ("psnr", "psnr_face", "ssim", "landmark"):
        assert result["self_reenactment"][key] == pytest.approx(result["copy"][key])
    assert result["gain"]["psnr"]["mean"] == pytest.approx(0)


def test_face_psnr_counts_only_the_face(fakes):
    known = fakes.clip()
    target, labels = known.frames[:1], known.landmarks[:1]
    outside = ~metrics.hull_mask(labels[0], 256)
    output = target.copy()
    output[0][outside] = 255 - output[0][outside]
    from scripts.evaluation.reenactment import score

    values = score(output, labels, target, labels)
    assert values["psnr_face"] == metrics.CEILING and values["psnr"] < 20


def test_codes_of_the_oracle_agree_with_the_labels(fakes):
    known = fakes.clip()
    part = CodeAccuracy(fakes.Oracle(known))
    part.add(known, fakes.Oracle(known).codes(known.frames))
    result = part.result()
    assert result["pose_r2"]["yaw"] == pytest.approx(1)
    assert result["lip_r"] == pytest.approx(1, abs=1e-5)
