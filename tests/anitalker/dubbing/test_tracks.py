"""Faces followed through a video: shots, gaps, people, and frames that nobody asks for."""

import numpy as np
import pytest

from anitalker.config import InputError
from anitalker.dubbing.tracks import find_tracks


@pytest.fixture
def tracks_of(people, model):
    def run(frames, **options):
        return find_tracks(model, people(), frames, **options)

    return run


def test_a_face_is_one_track_with_rows_of_its_own_place(tracks_of, film):
    tracks = tracks_of(film([40 + 2 * t for t in range(10)]))
    assert [(t.first, len(t), t.person) for t in tracks] == [(0, 10, 0)]
    place, landmarks, expression = tracks[0].read(0, 10)
    nose = place[:, :2] + landmarks[:, 1, :2] * place[:, 2:]
    np.testing.assert_allclose(nose[:, 0] - nose[0, 0], 2.0 * np.arange(10), atol=2.5)
    assert expression.shape == (10, 14)
    assert tracks[0].free().all()
    assert tracks[0].bank.references()


def test_a_cut_begins_a_new_track_of_the_same_person(tracks_of, film):
    first, second = film([20] * 4), film([140] * 4)
    second[:, :, :] = (second * 0.55).astype(np.uint8)
    tracks = tracks_of(np.concatenate([first, second]))
    assert [(t.first, len(t), t.person) for t in tracks] == [(0, 4, 0), (4, 4, 0)]


def test_a_face_that_leaves_is_not_seen_and_comes_back(tracks_of, film):
    places = [60] * 4 + [None] * 6 + [60] * 6
    tracks = tracks_of(film(places))
    seen = np.zeros(len(places), bool)
    for track in tracks:
        seen[track.first : track.first + len(track)] |= track.free()
    assert seen[:4].all()
    assert not seen[4:10].any()
    assert seen[-1]


def test_a_video_that_begins_without_a_face_is_searched_again(tracks_of, film):
    tracks = tracks_of(film([None] * 3 + [60] * 14))
    assert len(tracks) == 1
    assert 3 <= tracks[0].first <= 13


def test_frames_that_nobody_needs_are_not_looked_at(tracks_of, film):
    needed = np.array([False] * 4 + [True] * 4 + [False] * 4)
    assert [(t.first, len(t)) for t in tracks_of(film([60] * 12), needed=needed)] == [(4, 4)]


def test_a_video_without_a_face_is_an_error(tracks_of, film):
    with pytest.raises(InputError, match="video shows no face; give a video with a face that looks at the camera"):
        tracks_of(film([None] * 3))


def test_an_index_that_nobody_has_is_an_error(tracks_of, film):
    with pytest.raises(InputError, match="face is 4, but the video shows people 0 to 0; choose one"):
        tracks_of(film([60] * 3), which=4)


def test_two_people_are_told_apart(tracks_of, portrait):
    from PIL import Image

    other = np.asarray(Image.fromarray(portrait[:, ::-1]).resize((150, 150)))
    frames = np.full((4, 220, 400, 3), 120, np.uint8)
    frames[:, 10:210, 200:400] = portrait
    frames[:, 40:190, 20:170] = (other[..., ::-1] * 0.8).astype(np.uint8)
    assert sorted(t.person for t in tracks_of(frames, which="all")) == [0, 1]
    assert [t.person for t in tracks_of(frames, which=1)] == [1]
    assert sorted(t.person for t in tracks_of(frames, which="largest", also=(1,))) == [0, 1]
    assert [t.person for t in tracks_of(frames)] == [0]
