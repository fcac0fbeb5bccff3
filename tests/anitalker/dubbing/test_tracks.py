"""Faces followed through a video: shots, gaps, people, and frames that nobody asks for."""

import numpy as np
import pytest

from anitalker.config import InputError
from anitalker.dubbing import stretches
from anitalker.dubbing.stretches import follow


@pytest.fixture
def tracks_of(people, model):
    def run(frames, which="largest", also=(), needed=None, **options):
        needed = np.ones(len(frames), bool) if needed is None else needed

        def read(start, stop):
            yield from frames[start:stop]

        return follow(model, people(), read, needed, 25.0, which, also, **options)

    return run


@pytest.mark.slow
def test_a_face_is_one_track_with_rows_of_its_own_place(tracks_of, film):
    tracks = tracks_of(film([40 + 2 * t for t in range(10)]))
    assert [(t.first, len(t), t.person) for t in tracks] == [(0, 10, 0)]
    place, landmarks, expression = tracks[0].read(0, 10)
    nose = place[:, :2] + landmarks[:, 1, :2] * place[:, 2:]
    np.testing.assert_allclose(nose[:, 0] - nose[0, 0], 2.0 * np.arange(10), atol=2.5)
    assert expression.shape == (10, 14)
    assert tracks[0].free().all()
    assert tracks[0].bank.references()


@pytest.mark.slow
def test_a_cut_begins_a_new_track_of_the_same_person(tracks_of, film):
    first, second = film([20] * 4), film([140] * 4)
    second[:, :, :] = (second * 0.55).astype(np.uint8)
    tracks = tracks_of(np.concatenate([first, second]))
    assert [(t.first, len(t), t.person) for t in tracks] == [(0, 4, 0), (4, 4, 0)]


@pytest.mark.slow
def test_a_face_that_leaves_is_not_seen_and_comes_back(tracks_of, film):
    places = [60] * 4 + [None] * 6 + [60] * 6
    tracks = tracks_of(film(places))
    seen = np.zeros(len(places), bool)
    for track in tracks:
        seen[track.first : track.first + len(track)] |= track.free()
    assert seen[:4].all()
    assert not seen[4:10].any()
    assert seen[-1]


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.fixture
def in_two(monkeypatch):
    """Videos are followed in two stretches, however short."""
    monkeypatch.setattr(stretches.torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(stretches, "LEAST_SECONDS", 0.01)


@pytest.mark.slow
def test_stretches_are_joined_without_a_seam(tracks_of, film, in_two, monkeypatch):
    frames = film([50 + t for t in range(16)])
    (joined,) = tracks_of(frames)
    monkeypatch.setattr(stretches, "LEAST_SECONDS", 10.0)
    (whole,) = tracks_of(frames)
    assert (joined.first, len(joined), joined.person) == (0, 16, 0)
    assert len(joined.seen) == len(joined.coded) == 16
    (place, landmarks, _), (true_place, true_landmarks, _) = joined.read(0, 16), whole.read(0, 16)
    np.testing.assert_array_equal(place[:8], true_place[:8])
    points, true_points = (
        marks[..., :2] * p[:, None, 2:] + p[:, None, :2]
        for marks, p in ((landmarks, place), (true_landmarks, true_place))
    )
    assert np.abs(points - true_points).mean() < 0.5  # pixels
    assert len(joined.bank.references()) >= 1


@pytest.mark.slow
def test_a_cut_between_stretches_stays_a_cut(tracks_of, film, in_two):
    first, second = film([20] * 8), film([140] * 8)
    tracks = tracks_of(np.concatenate([first, (second * 0.55).astype(np.uint8)]))
    assert [(t.first, len(t), t.person) for t in tracks] == [(0, 8, 0), (8, 8, 0)]


def test_a_face_in_one_stretch_only(tracks_of, film, in_two):
    (track,) = tracks_of(film([None] * 8 + [60] * 8))
    assert (track.first, len(track)) == (8, 8)


def test_cancelling_ends_all_stretches(tracks_of, film, in_two):
    def cancel(stage, done, total):
        assert total == 16
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tracks_of(film([60] * 16), progress=cancel)
