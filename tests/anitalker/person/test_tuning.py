"""From a video to a person file that speaks; what cannot be used is one line and leaves nothing behind."""

import subprocess

import numpy as np
import pytest
from PIL import Image

from anitalker.config import InputError, RenderOptions
from anitalker.media.video import ffmpeg
from anitalker.person import takes
from anitalker.person.person_file import read_person
from anitalker.person.tune_options import TuneOptions

OPTIONS = TuneOptions("Ada Lovelace", minutes=0)


@pytest.fixture(scope="module")
def video(picture, tmp_path_factory):
    """The example portrait for 1.2 s, which wanders a little, with a voice-like tone."""
    frames = np.stack([np.roll(picture, (t % 5, t % 7), (0, 1)) for t in range(30)])
    target = tmp_path_factory.mktemp("tune") / "me.mp4"
    pictures = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "240x240", "-r", "25", "-i", "pipe:0"]
    tone = ["-f", "lavfi", "-i", "sine=220:duration=1.2", "-c:v", "libx264", "-crf", "10", "-c:a", "aac"]
    command = [ffmpeg(), "-v", "error", "-y", *pictures, *tone, str(target)]
    subprocess.run(command, input=frames.tobytes(), check=True)
    return target


@pytest.mark.parametrize(
    ("options", "name", "message"),
    [
        (TuneOptions(), "a.safetensors", "consent is missing"),
        (OPTIONS, "a.mp4", "ends in .safetensors"),
    ],
)
def test_usage_is_checked_before_anything_slow(talker, video, tmp_path, options, name, message):
    with pytest.raises(InputError, match=message):
        talker.tune([video], tmp_path / name, options)


def test_minutes_have_limits():
    with pytest.raises(InputError, match="minutes is nan; allowed is 0 to 600"):
        TuneOptions(minutes=float("nan"))


@pytest.mark.slow
def test_a_short_video_is_refused(talker, video, tmp_path):
    with pytest.raises(InputError, match="a face is seen for 1 s in all; give at least 20 s"):
        talker.tune([video], tmp_path / "a.safetensors", OPTIONS)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_video_becomes_a_person_that_speaks(talker, video, tmp_path, monkeypatch, make_wav, caplog):
    monkeypatch.setattr(takes, "MIN_SECONDS", 1.0)
    target = tmp_path / "ada.safetensors"
    facts = talker.tune([video], target, OPTIONS)
    person = read_person(target)
    assert facts["consent"] == person.consent == "Ada Lovelace"
    assert facts["mouth"] is None and facts["lips"] is None and facts["finished"]
    assert facts["references"] == len(person.traits.patches) and person.portrait.shape == (240, 240, 3)
    assert "how the lips follow speech stays as usual" in caplog.text
    speech = make_wav(tmp_path / "speech.wav", np.zeros(3200))
    frames = list(talker.frames(talker.portrait(target), speech, RenderOptions()))
    assert len(frames) == 5 and frames[0].shape == (240, 240, 3)


@pytest.mark.slow
def test_a_portrait_of_somebody_else_is_refused(talker, video, picture, tmp_path, monkeypatch):
    monkeypatch.setattr(takes, "MIN_SECONDS", 1.0)
    monkeypatch.setattr("anitalker.person.tuning.DIFFERENT", 1.01)
    Image.fromarray(picture).save(tmp_path / "other.png")
    options = TuneOptions("Ada", str(tmp_path / "other.png"), 0)
    with pytest.raises(InputError, match=r"shows somebody else than 'me.mp4'"):
        talker.tune([video], tmp_path / "a.safetensors", options)


def test_a_broken_run_goes_on_where_it_ended(make_person, talker, tmp_path):
    from anitalker.person.tuning import unfinished

    facts = {"sources": ["abc"], "portrait": ""}
    own = talker.model.fingerprint
    broken = make_person(facts=facts | {"finished": False, "training_seconds": 12.0})
    assert unfinished(broken, own, facts).facts["training_seconds"] == 12.0
    assert unfinished(broken, own, facts | {"sources": ["other"]}) is None
    assert unfinished(broken, "0" * 64, facts) is None
    assert unfinished(make_person(facts=facts | {"finished": True}), own, facts) is None
    assert unfinished(tmp_path / "none.safetensors", own, facts) is None
