"""Videos of a person: which are refused, what is heard, and that the neutral face is the same for all frames."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest

from anitalker.config import SAMPLE_RATE, InputError
from anitalker.person import takes
from anitalker.person.takes import find_videos, read_speech
from anitalker.person.tuning import check_alone


def named(name, embedding):
    return SimpleNamespace(name=name, embedding=np.float32(embedding))


def test_folders_give_their_videos_by_name(tmp_path):
    for name in ("b.mp4", "a.MOV", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert [file.name for file in find_videos([tmp_path])] == ["a.MOV", "b.mp4"]


@pytest.mark.parametrize(("make", "message"), [(True, "has no video"), (False, "video is missing")])
def test_what_is_no_video_is_one_line(tmp_path, make, message):
    if make:
        (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=message):
        find_videos([tmp_path / "folder"])


def test_somebody_else_in_a_folder_is_named(caplog):
    first = named("one.mp4", [1, 0])
    with pytest.raises(InputError, match=r"'two.mp4' shows somebody else than 'one.mp4'"):
        takes._check_same(first, named("two.mp4", [0.1, 0.99]))
    takes._check_same(first, named("three.mp4", [0.3, 0.95]))
    assert "three.mp4 may show somebody else than one.mp4" in caplog.text
    caplog.clear()
    takes._check_same(first, named("four.mp4", [0.8, 0.6]))
    assert not caplog.text


def voice(seconds):
    times = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tone = sum(np.sin(2 * np.pi * (130 + 20 * np.sin(times)) * k * times) / k for k in range(1, 12))
    return (0.2 * tone * (np.sin(2 * np.pi * 3 * times) > 0)).astype(np.float32)


def chords(seconds):
    """Music without pauses: a chord of sines, another one every second."""
    times = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    root = 220 * 2 ** (np.floor(times) % 5 * 2 / 12)
    phase = 2 * np.pi * np.cumsum(root) / SAMPLE_RATE
    return (0.2 * sum(np.sin(phase * ratio) for ratio in (1, 1.25, 1.5))).astype(np.float32)


@pytest.mark.parametrize(
    ("samples", "word"),
    [
        (voice(20), None),
        (voice(3), "s, which is too little"),
        (np.zeros(12 * SAMPLE_RATE), "nothing is heard"),
        (chords(12), "sounds like music"),
        (np.random.default_rng(0).normal(0, 0.1, 12 * SAMPLE_RATE), "steady noise rather than speech"),
    ],
)
def test_sound_without_speech_is_left_out_with_a_word(make_wav, tmp_path, caplog, samples, word):
    caplog.set_level(logging.WARNING)
    heard = read_speech(None, make_wav(tmp_path / "sound.wav", samples), 60.0)
    assert (len(heard) == 0) == (word is not None)
    assert word is None or word in caplog.text


def test_two_people_beside_each_other_are_refused(fixed_finder, monkeypatch):
    picture = np.random.default_rng(0).integers(0, 255, (60, 120, 3), np.uint8)
    monkeypatch.setattr("anitalker.person.tuning.frames_of", lambda clip, numbers: [picture] * len(numbers))
    take = SimpleNamespace(name="pair.mp4", free=np.ones(9, bool), clip=None)
    check_alone(fixed_finder(1), take)
    with pytest.raises(InputError, match=r"video shows two people: 'pair.mp4'"):
        check_alone(fixed_finder(2), take)


def test_people_in_turn_are_refused(monkeypatch, tmp_path):
    clip = SimpleNamespace(frames=100, fps=25, seconds=4.0)
    tracks = [SimpleNamespace(person=0, seen=[1] * 85), SimpleNamespace(person=1, seen=[1] * 15)]
    monkeypatch.setattr(takes, "open_clip", lambda *_: clip)
    monkeypatch.setattr(takes, "follow", lambda *_, **__: tracks)
    with pytest.raises(InputError, match=r"video shows 2 people: 'pair.mp4'; give one that shows one person"):
        takes._watch(None, None, tmp_path / "pair.mp4", 300.0, None)


def test_five_seconds_are_too_little(monkeypatch, tmp_path):
    (tmp_path / "short.mp4").write_bytes(b"x")
    take = SimpleNamespace(free=np.ones(125, bool), clip=SimpleNamespace(fps=25, seconds=5.0))
    monkeypatch.setattr(takes, "_watch", lambda *_: take)
    with pytest.raises(InputError, match="a face is seen for 5 s in all; give at least 20 s in which it looks ahead"):
        takes.watch(None, lambda: None, [tmp_path / "short.mp4"])
