"""The frames of a dub: lips of whoever speaks, the rest as filmed, lines, loops, and a scene without a face."""

import numpy as np
import pytest
import torch

from anitalker.config import RenderOptions
from anitalker.dubbing.dubbed_frames import Spoken, dubbed_frames
from anitalker.dubbing.speaking import Utterance, speak
from anitalker.dubbing.tracks import find_tracks


@pytest.fixture
def dub(model, people, film):
    def run(places, lines, indices=None, fps=25.0, which="largest", **options):
        frames = film(places)
        indices = np.arange(len(frames)) if indices is None else np.asarray(indices)
        tracks = find_tracks(model, people(), frames, which)
        shown = frames[indices]
        out = np.stack(list(dubbed_frames(model, tracks, lines, indices, shown, fps, **options)))
        return shown, out

    return run


def changed(shown: np.ndarray, out: np.ndarray) -> np.ndarray:
    return (shown != out).any((1, 2, 3))


@pytest.mark.slow
def test_a_line_moves_its_frames_and_no_others(dub, open_mouth):
    shown, out = dub([60] * 12, [Spoken(None, 3, 9, open_mouth.repeat(12, 1))])
    assert changed(shown, out).tolist() == [False] * 3 + [True] * 6 + [False] * 3


@pytest.mark.slow
def test_a_line_of_another_person_moves_nobody(dub, open_mouth):
    shown, out = dub([60] * 4, [Spoken(5, 0, 4, open_mouth.repeat(4, 1))])
    assert not changed(shown, out).any()


@pytest.mark.slow
def test_a_person_s_own_line_takes_the_place_of_the_common_one(dub, open_mouth):
    own = Spoken(0, 0, 2, open_mouth)
    shown, out = dub([60] * 6, [own, Spoken(None, 0, 6, open_mouth)])
    assert changed(shown, out)[2:].sum() == 0


def test_lips_zero_keeps_the_video(dub, open_mouth):
    shown, out = dub([60] * 3, [Spoken(None, 0, 3, open_mouth)], lips=0.0)
    assert np.abs(shown.astype(int) - out).max() <= 12  # the averaged shape, not speech


def test_frames_without_the_face_stay(dub, open_mouth):
    shown, out = dub([60] * 3 + [None] * 3, [Spoken(None, 0, 6, open_mouth)])
    assert not changed(shown, out)[3:].any()


def test_a_loop_shows_frames_again_in_any_order(dub, open_mouth):
    indices = [0, 1, 2, 3, 2, 1, 0, 1]
    shown, out = dub([60, 64, 68, 72], [Spoken(None, 0, 8, open_mouth)], indices)
    assert len(out) == 8
    assert changed(shown, out)[1:7].all()
    np.testing.assert_array_equal(out[2], out[4])  # the same frame under the same codes
    assert (out[2] != out[3]).any()


def test_codes_are_read_at_the_video_s_own_times():
    line = Spoken(None, 10, 40, torch.arange(5.0)[:, None].repeat(1, 20))
    codes = line.codes(np.array([10, 11, 12, 40]), 50.0)[:, 0]
    torch.testing.assert_close(codes, torch.tensor([0.0, 0.5, 1.0, 4.0]))


def test_speech_begins_as_the_person_is_filmed(model, people, film, speech):
    tracks = find_tracks(model, people(), film([60] * 4))
    spoken = speak(model, Utterance(None, 0, 4, speech[0]), tracks, np.arange(4), RenderOptions())
    np.testing.assert_allclose(spoken.motion[0, 6:].numpy(), tracks[0].read(0, 1)[2][0], atol=1e-5)
    assert spoken.motion.shape == (25, 20)
    assert float(spoken.motion[:, 6:].std(0).max()) > 1e-3


def test_a_line_eases_in_and_out_but_not_at_the_ends_of_the_video():
    inner, whole = Spoken(None, 10, 30, torch.zeros(1, 20)), Spoken(None, 0, 40, torch.zeros(1, 20))
    frames = np.arange(40)
    weights = inner.weights(frames, 40, 25.0)
    assert (weights[:10] == 0).all() and (weights[30:] == 0).all()
    assert 0 < weights[10] < weights[12] < weights[14] == 1 == weights[25] > weights[29] > 0
    assert (whole.weights(frames, 40, 25.0) == 1).all()
