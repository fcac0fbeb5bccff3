"""Things drawn before faces: repeatable, of the right size, over what they shall hide and over nothing else."""

import numpy as np
import pytest

from anitalker.faces.landmarks import EYES, LIPS
from scripts.training import occluders

MOUTH = {**occluders.MOUTH_TAUGHT, **occluders.MOUTH_UNSEEN}
EYE = {**occluders.EYES_TAUGHT, **occluders.EYES_UNSEEN}
EVERYTHING = {**MOUTH, **EYE, **occluders.HARMLESS}


def changed(make, still, seed=1):
    """bool [256,256]: where a maker changed the picture."""
    picture, points = still
    return (make(picture.copy(), points, np.random.default_rng(seed)) != picture).any(-1)


def at(points, group):
    """Whole pixels of some landmarks."""
    return (points[list(group), :2] * 256).astype(int)


@pytest.mark.parametrize("kind", EVERYTHING)
def test_every_kind_is_a_picture_and_repeats(still, kind):
    picture, points = still
    before = picture.copy()
    made, repeated = (EVERYTHING[kind](picture, points, np.random.default_rng(3)) for _ in range(2))
    assert made.dtype == np.uint8 and made.ndim == 3 and min(made.shape[:2]) == 256
    assert np.array_equal(made, repeated) and np.array_equal(picture, before)
    assert made.shape != picture.shape or (made != picture).any()


@pytest.mark.parametrize("kind", MOUTH)
def test_mouths_are_hidden_and_eyes_are_not(still, kind):
    for seed in range(6):
        where = changed(MOUTH[kind], still, seed)
        lips, lids = at(still[1], LIPS), at(still[1], EYES)
        assert where[lips[:, 1], lips[:, 0]].mean() > 0.7, seed  # between fingers lips may show
        assert where[lids[:, 1], lids[:, 0]].mean() < 0.3, seed


@pytest.mark.parametrize("kind", EYE)
def test_eyes_are_hidden_and_mouths_are_not(still, kind):
    where = changed(EYE[kind], still)
    lips, lids = at(still[1], LIPS), at(still[1], EYES)
    assert where[lids[:, 1], lids[:, 0]].mean() > 0.9 and not where[lips[:, 1], lips[:, 0]].any()


def test_what_stands_beside_the_face_hides_neither(still):
    for seed in range(12):
        where = changed(occluders.beside, still, seed)
        for group in (LIPS, EYES):
            points = at(still[1], group)
            assert where[points[:, 1], points[:, 0]].mean() < 0.1, seed
