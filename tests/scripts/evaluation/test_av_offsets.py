"""Offsets of sound: the manifest's, the table's, and what is no number; shifting back."""

import numpy as np
import pytest

from anitalker.config import InputError
from scripts.evaluation import av_offsets
from scripts.evaluation.av_offsets import align_speech, av_offset, shift_back


def test_the_manifest_comes_before_the_table(monkeypatch):
    monkeypatch.setattr(av_offsets, "ESTIMATED", {"a": 4})
    assert av_offset({"id": "a", "av_offset_frames": "-1"}) == -1
    assert av_offset({"id": "a", "av_offset_frames": ""}) == 4 == av_offset({"id": "a"})
    assert av_offset({"id": "b", "av_offset_frames": ""}) == 0
    with pytest.raises(InputError, match=r"av_offset_frames of a is '1\.5'"):
        av_offset({"id": "a", "av_offset_frames": "1.5"})


def test_speech_is_shifted_and_never_longer_than_the_frames():
    sound = np.arange(1, 5 * 640 + 100, dtype=np.float32)
    assert align_speech(sound, 5, 0).tolist() == sound[: 5 * 640].tolist()
    assert align_speech(sound, 5, 2).tolist() == sound[2 * 640 : 5 * 640].tolist()
    early = align_speech(sound, 5, -2)
    assert len(early) == 5 * 640 and not early[:1280].any() and early[1280] == 1
    assert len(align_speech(sound[:0], 5, -3)) == 0  # a clip without sound


def test_frames_are_repeated_in_front_of_early_ones():
    frames = np.arange(4).reshape(4, 1)
    assert shift_back(frames, -2, "edge")[:, 0].tolist() == [0, 0, 0, 1, 2, 3]
    assert shift_back(frames, 1, "edge")[:, 0].tolist() == [1, 2, 3]
