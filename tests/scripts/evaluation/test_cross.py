"""Cross-reenactment with an oracle and a planted verifier."""

import numpy as np
import pytest

from scripts.evaluation import cross
from scripts.evaluation.identity import Similarities
from scripts.evaluation.metric_networks import MetricNetworks


def by_colour(frames, points):
    """A verifier that knows people by the colour of one pixel: 0 and 200 are strangers."""
    angle = np.deg2rad(frames[:, 255, 255, 0].astype(float) * 90 / 200)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def coloured(known, value):
    known.frames[:, 255, 255] = value
    return known


def test_everybody_is_driven_by_somebody_else():
    assert cross.partners("aabca") == [2, 2, 3, 4, 2]
    assert cross.partners("aa") == [-1, -1]


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
    report = cross.run(fakes.session(model, clips, "--stride", "5", networks=networks))["cross"]
    assert report["pairs"] == 2 and report["made"]["pose_error_degrees"] == 0
    assert report["made"]["expression_error"] == pytest.approx(0, abs=1e-5)
    assert report["made"]["lip_correlation"] == pytest.approx(1, abs=1e-4)
    assert report["identity"]["made"]["percentile"] == pytest.approx(percentile, abs=2)
    assert report["nearer_to_portrait"] == (1.0 if same else 0.0)


def test_a_split_with_one_person_has_no_pairs(fakes):
    clips = [fakes.clip(0, "a"), fakes.clip(1, "a")]
    assert cross.run(fakes.session(fakes.Oracle(*clips), clips)) == {}
