"""Reenactment with an oracle and a copier as the model, and a planted verifier."""

import numpy as np
import pytest

from scripts.evaluation import metrics, reenactment
from scripts.evaluation.identity import Similarities
from scripts.evaluation.session import MetricNetworks


def test_oracle_is_perfect_and_beats_copying(fakes):
    known = fakes.clip()
    result = reenactment.run_self(fakes.session(fakes.Oracle(known), [known], "--stride", "13"))
    assert result["self_reenactment"]["psnr"] == metrics.CEILING
    assert result["self_reenactment"]["landmark"] == 0
    assert result["self_reenactment"]["ssim"] == pytest.approx(1, abs=1e-6)
    assert result["copy"]["psnr"] < 10 and result["copy"]["landmark"] > 0.005
    # With the mean code for everything the oracle shows one frame: what the codes were worth.
    assert result["mean_code"]["cost_psnr_face"] > 80


def test_copier_scores_exactly_what_the_copy_baseline_scores(fakes):
    known = fakes.clip()
    result = reenactment.run_self(fakes.session(fakes.Copier(known), [known], "--stride", "13"))
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


def by_colour(frames, points):
    """A verifier that knows people by the colour of one pixel: 0 and 200 are strangers."""
    angle = np.deg2rad(frames[:, 255, 255, 0].astype(float) * 90 / 200)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def coloured(known, value):
    known.frames[:, 255, 255] = value
    return known


def test_everybody_is_driven_by_somebody_else():
    assert reenactment.partners("aabca") == [2, 2, 3, 4, 2]
    assert reenactment.partners("aa") == [None, None]


@pytest.mark.parametrize(("same", "percentile"), [(True, 100), (False, 51)])
def test_cross_reenactment_says_whose_face_it_is(fakes, same, percentile):
    """Two people whose clips have the same labels; rendered frames show the portrait's person, or the driver."""
    clips = [coloured(fakes.clip(0, "a"), 0), coloured(fakes.clip(1, "b"), 200)]
    clips[1].landmarks[:] = clips[0].landmarks
    known = Similarities(same=np.linspace(0.9, 1, 101), different=np.linspace(-0.5, 0.5, 101))
    networks = MetricNetworks(verifier=by_colour, clips=known)
    model = fakes.Oracle(*clips)
    if not same:
        model.render = lambda source, motion: clips[1 - source.image[0, 0, 1]].frames[motion[:, 0].round().astype(int)]
    report = reenactment.run_cross(fakes.session(model, clips, "--stride", "5", networks=networks))["cross"]
    assert report["pairs"] == 2 and report["made"]["pose_error_degrees"] == 0
    assert report["made"]["expression_error"] == pytest.approx(0, abs=1e-5)
    assert report["made"]["lip_correlation"] == pytest.approx(1, abs=1e-4)
    assert report["identity"]["made"]["percentile"] == pytest.approx(percentile, abs=2)
    assert report["nearer_to_portrait"] == (1.0 if same else 0.0)


def test_a_split_with_one_person_has_no_pairs(fakes):
    clips = [fakes.clip(0, "a"), fakes.clip(1, "a")]
    assert reenactment.run_cross(fakes.session(fakes.Oracle(*clips), clips)) == {}
