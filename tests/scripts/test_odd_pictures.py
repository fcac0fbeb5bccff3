"""Pictures that are no faces, and things before faces: repeatable, of the right size, and over what they shall hide."""

import numpy as np
import pytest

from anitalker.faces.landmarks import EYES, LIPS
from scripts.training import covers, odd_pictures

EVERYTHING = {**odd_pictures.KINDS, **covers.MOUTH_TAUGHT, **covers.MOUTH_UNSEEN}
EVERYTHING |= {**covers.EYES_TAUGHT, **covers.EYES_UNSEEN, **covers.HARMLESS}


@pytest.fixture
def still(face):
    """Noise, and landmarks of a face in its middle."""
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    return picture, face.numpy() * 0.6 + np.float32([0.5, 0.4, 0])


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
    one, two = (EVERYTHING[kind](picture, points, np.random.default_rng(3)) for _ in range(2))
    assert one.dtype == np.uint8 and one.ndim == 3 and min(one.shape[:2]) == 256
    assert np.array_equal(one, two) and np.array_equal(picture, before)
    assert one.shape != picture.shape or (one != picture).any()


@pytest.mark.parametrize("kind", [*covers.MOUTH_TAUGHT, *covers.MOUTH_UNSEEN])
def test_mouths_are_hidden_and_eyes_are_not(still, kind):
    for seed in range(6):
        where = changed({**covers.MOUTH_TAUGHT, **covers.MOUTH_UNSEEN}[kind], still, seed)
        lips, lids = at(still[1], LIPS), at(still[1], EYES)
        assert where[lips[:, 1], lips[:, 0]].mean() > 0.7, seed  # between fingers lips may show
        assert where[lids[:, 1], lids[:, 0]].mean() < 0.3, seed


@pytest.mark.parametrize("kind", [*covers.EYES_TAUGHT, *covers.EYES_UNSEEN])
def test_eyes_are_hidden_and_mouths_are_not(still, kind):
    where = changed({**covers.EYES_TAUGHT, **covers.EYES_UNSEEN}[kind], still)
    lips, lids = at(still[1], LIPS), at(still[1], EYES)
    assert where[lids[:, 1], lids[:, 0]].mean() > 0.9 and not where[lips[:, 1], lips[:, 0]].any()


def test_what_stands_beside_the_face_hides_neither(still):
    for seed in range(12):
        where = changed(covers.beside, still, seed)
        for group in (LIPS, EYES):
            points = at(still[1], group)
            assert where[points[:, 1], points[:, 0]].mean() < 0.1, seed


def test_plain_covers_and_turns(still):
    picture, points = still
    hidden = odd_pictures.covered((13, 14, 61, 291), 0.06)(picture, points, np.random.default_rng(0))
    x, y = at(points, (13,))[0]
    assert (hidden[y, x] == hidden[y, x + 2]).all() and (hidden[:40] == picture[:40]).all()
    assert np.array_equal(odd_pictures.upside_down(odd_pictures.upside_down(*still, None), points, None), picture)
    tiles = odd_pictures.shuffled(picture, points, np.random.default_rng(0))
    assert np.array_equal(np.sort(tiles.ravel()), np.sort(picture.ravel())) and (tiles != picture).any()
