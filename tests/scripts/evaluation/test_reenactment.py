"""Self-reenactment with an oracle and a copier as the model."""

import numpy as np
import pytest

from scripts.evaluation import metrics, reenactment
from scripts.evaluation.metric_networks import MetricNetworks


def test_oracle_is_perfect_and_beats_copying(fakes):
    known = fakes.clip()
    result = reenactment.run(fakes.session(fakes.Oracle(known), [known], "--stride", "13"))
    assert result["self_reenactment"]["psnr"] == metrics.CEILING
    assert result["self_reenactment"]["landmark"] == 0
    assert result["self_reenactment"]["ssim"] == pytest.approx(1, abs=1e-6)
    assert result["copy"]["psnr"] < 10 and result["copy"]["landmark"] > 0.005
    # With the mean code for everything the oracle shows one frame: what the codes were worth.
    assert result["mean_code"]["cost_psnr_face"] > 80


def test_copier_scores_exactly_what_the_copy_baseline_scores(fakes):
    known = fakes.clip()
    result = reenactment.run(fakes.session(fakes.Copier(known), [known], "--stride", "13"))
    for key in ("psnr", "psnr_face", "ssim", "landmark"):
        assert result["self_reenactment"][key] == pytest.approx(result["copy"][key])
    assert result["gain"]["psnr"]["mean"] == pytest.approx(0)


def test_face_psnr_counts_only_the_face(fakes):
    known = fakes.clip()
    target, labels = known.frames[:1], known.landmarks[:1]
    outside = ~metrics.hull_mask(labels[0], 256)
    output = target.copy()
    output[0][outside] = 255 - output[0][outside]
    values = reenactment.score(MetricNetworks(), output, labels, target, labels)
    assert values["psnr_face"] == metrics.CEILING and values["psnr"] < 20


def test_identity_compares_the_moment_and_another_moment(fakes):
    """A verifier that knows the number of the frame: the same moment is alike, half a clip away is not."""
    known = fakes.clip()
    networks = MetricNetworks(verifier=lambda frames, points: np.eye(fakes.FRAMES)[frames[:, 0, 0, 0]])
    frames, points = known.frames[1:5], known.landmarks[1:5]
    similar = reenactment.similarities(networks, frames, points, frames, points)
    assert similar["made"].tolist() == [1] * 4
    assert similar["made_other_moment"].tolist() == similar["true_other_moment"].tolist() == [0] * 4
