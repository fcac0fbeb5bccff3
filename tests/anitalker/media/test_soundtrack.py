"""Each face its own speech: the flag, the lengths, who moves when, and the mix."""

from dataclasses import replace

import numpy as np
import pytest

from anitalker import pipeline
from anitalker.config import InputError, RenderOptions
from anitalker.media.soundtrack import Soundtrack, parse_speech_for
from anitalker.media.video import mix_audio, probe, read_audio

RATE = 16_000
QUICK = RenderOptions(steps=2)


@pytest.fixture
def pair(untrained_model, monkeypatch, fixed_finder):
    """A talker that finds two faces, and a picture for it."""
    monkeypatch.setattr("anitalker.models.loading.load_finder", lambda backend, device: fixed_finder(2))
    picture = np.random.default_rng(0).integers(0, 255, (100, 200, 3), np.uint8)
    return pipeline.load(untrained_model, "cpu"), picture


def tone(at, length, frequency):
    """[N]: a burst of 0.1 s at `at` seconds."""
    time = np.arange(int(length * RATE)) / RATE
    return (0.6 * np.sin(2 * np.pi * frequency * time) * ((time >= at) & (time < at + 0.1))).astype(np.float32)


def test_the_flag():
    assert parse_speech_for(["0=a.wav", "12=b=c.wav"]) == {0: "a.wav", 12: "b=c.wav"}
    assert parse_speech_for([]) == {}


@pytest.mark.parametrize("given", [["a.wav"], ["=a.wav"], ["x=a.wav"], ["-1=a.wav"], ["1="], ["1=a", "01=b"], ["²=a"]])
def test_a_wrong_flag(given):
    with pytest.raises(InputError, match="speech-for"):
        parse_speech_for(given)


def test_the_shorter_is_silent_at_the_end():
    track = Soundtrack.read(np.ones(3, np.float32), {1: np.ones(5, np.float32)})
    assert track.length == 5 and track.recording_of(0) is None and track.recording_of(1) == 1
    assert track.padded(None).tolist() == [1, 1, 1, 0, 0] and track.padded(1).tolist() == [1] * 5


def test_what_nobody_speaks_is_left_out():
    track = Soundtrack.read(np.ones(9, np.float32), {0: np.ones(3, np.float32), 1: np.ones(5, np.float32)})
    assert track.spoken_by([0, 1]).length == 5 and None not in track.spoken_by([0, 1]).samples
    assert track.spoken_by([0, 1, 2]) is track


def test_the_mix_has_every_voice_at_its_time(tmp_path, make_wav):
    first, second = make_wav(tmp_path / "a.wav", tone(0.1, 0.4, 300)), make_wav(tmp_path / "b.wav", tone(0.6, 0.9, 700))
    mix_audio([first, second], tmp_path / "both.flac")
    heard = read_audio(tmp_path / "both.flac")
    assert len(heard) / RATE == pytest.approx(0.9, abs=0.02)
    loud = [np.abs(heard[int(at * RATE) :][:800]).max() for at in (0.12, 0.35, 0.62, 0.8)]
    assert loud[0] > 0.3 and loud[2] > 0.3 and loud[1] < 0.02 and loud[3] < 0.02


def test_a_mix_does_not_clip(tmp_path, make_wav):
    loud = make_wav(tmp_path / "a.wav", 0.95 * np.sin(np.arange(8000) * 0.1))
    mix_audio([loud, loud, loud], tmp_path / "mixed.flac")
    assert 0.8 < np.abs(read_audio(tmp_path / "mixed.flac")).max() < 0.99


def test_each_face_hears_its_own(pair):
    """What face 0 does under A does not depend on what face 1 hears; face 1 moves as if B were the speech."""
    talker, picture = pair
    a, b = tone(0.1, 0.6, 300), np.random.default_rng(1).normal(0, 0.2, int(0.6 * RATE)).astype(np.float32)
    both = talker.portrait(picture, "all")
    assert both.indices == (0, 1)
    together, alone, other = (
        talker.motion(both, a, QUICK, speech_for={1: b}),
        talker.motion(both, a, QUICK),
        talker.motion(both, b, QUICK),
    )
    assert (together[0] - alone[0]).abs().max() == 0 and (together[1] - other[1]).abs().max() == 0
    assert (together[1] - alone[1]).abs().max() > 1e-4


@pytest.mark.slow
def test_render_is_as_long_as_the_longest(pair, tmp_path, make_wav):
    talker, picture = pair
    from PIL import Image

    Image.fromarray(picture).save(tmp_path / "pair.png")
    short, long = make_wav(tmp_path / "a.wav", tone(0.0, 0.2, 300)), make_wav(tmp_path / "b.wav", tone(0.3, 0.6, 500))
    facts = talker.render(tmp_path / "pair.png", short, tmp_path / "out.mp4", QUICK, speech_for={1: long})
    assert facts["frames"] == 15
    heard = read_audio(tmp_path / "out.mp4")
    assert np.abs(heard[int(0.02 * RATE) :][:800]).max() > 0.2 and np.abs(heard[int(0.32 * RATE) :][:800]).max() > 0.2
    assert probe(tmp_path / "out.mp4").audio_codec == "aac"


def test_nobody_speaks_the_common_speech(pair, tmp_path, make_wav):
    """Where every face has its own, the common one is neither heard nor counted."""
    talker, picture = pair
    a, b = make_wav(tmp_path / "a.wav", tone(0.0, 0.9, 300)), make_wav(tmp_path / "b.wav", tone(0.1, 0.2, 500))
    options = replace(QUICK, face="0")
    facts = talker.render(talker.portrait(picture, "0"), a, tmp_path / "out.mp4", options, speech_for={0: b})
    assert facts["frames"] == 5


def test_a_face_that_is_not_there(pair, tmp_path, make_wav):
    talker, picture = pair
    speech = make_wav(tmp_path / "a.wav", tone(0.0, 0.2, 300))
    with pytest.raises(InputError, match="face 2"):
        talker.portrait(picture, "0", also=[2])
    with pytest.raises(InputError, match="face 1"):
        talker.render(talker.portrait(picture, "0"), speech, tmp_path / "out.mp4", QUICK, speech_for={1: speech})
    assert not (tmp_path / "out.mp4").exists()
