"""From a video to a person file that speaks; what cannot be used is one line and leaves nothing behind."""

import subprocess

import numpy as np
import pytest
from PIL import Image

from anitalker.config import InputError, RenderOptions
from anitalker.media.video import ffmpeg
from anitalker.motion.manner import Manner
from anitalker.person import mouth_tuning, takes, tuning
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


@pytest.mark.slow
def test_a_cancelled_run_is_a_whole_file_and_the_same_call_goes_on(talker, video, tmp_path, monkeypatch):
    monkeypatch.setattr(takes, "MIN_SECONDS", 1.0)
    monkeypatch.setattr(mouth_tuning, "SCORE_EVERY", 2)
    monkeypatch.setattr(mouth_tuning, "PATIENCE", 1)
    target, options, started = tmp_path / "ada.safetensors", TuneOptions("Ada Lovelace", minutes=1), []
    tune_mouth = tuning.tune_mouth
    monkeypatch.setattr(tuning, "tune_mouth", lambda *a, **k: started.append(a[4:6]) or tune_mouth(*a, **k))

    def cancel(stage, done, total):
        if stage == "tuning" and len(started) == 1:
            raise KeyboardInterrupt

    facts = talker.tune([video], target, options, cancel)
    assert not facts["finished"] and facts["exit_status"] == 130 and facts["steps"] == 1
    broken = read_person(target)
    assert broken.facts["finished"] is False and broken.portrait.shape == (240, 240, 3)
    facts = talker.tune([video], target, options, cancel)
    assert facts["finished"] and facts["exit_status"] == 0
    whole = read_person(target)
    assert whole.facts["finished"] and whole.facts["training_seconds"] > broken.facts["training_seconds"]
    assert started[1][0] == pytest.approx(60 - broken.facts["training_seconds"])
    assert started[1][1] is not None, "it does not go on from the first run's weights"


@pytest.mark.slow
def test_an_early_break_leaves_an_earlier_file_as_it_is(talker, video, make_person, tmp_path):
    target = tmp_path / "ada.safetensors"
    target.write_bytes(make_person().read_bytes())
    before = target.read_bytes()

    def cancel(stage, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        talker.tune([video], target, OPTIONS, cancel)
    assert target.read_bytes() == before and list(tmp_path.iterdir()) == [target]


def test_a_break_after_the_training_keeps_the_training(talker, picture, traits, monkeypatch):
    crop = talker.portrait(picture).faces[0].crop
    base, spoken = tuning.Base(picture, crop, traits, np.zeros(0, int)), [object()]
    tuned = mouth_tuning.MouthTuning(dict(traits.mouth), 1.0, 0.5, 60.0, 100, True)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "fit_lips", interrupt)
    kept, told = tuning.measure_again(talker.model, talker.finder(), base, traits, spoken, tuned)
    assert kept is traits and not told.finished and told.changes
    monkeypatch.setattr(tuning, "fit_lips", lambda *_: Manner(1.7))
    kept, told = tuning.measure_again(talker.model, talker.finder(), base, traits, spoken, tuned)
    assert kept.manner.lips == 1.7 and told.finished


def test_a_file_names_no_path_of_the_machine(tmp_path):
    (tmp_path / "me.png").write_bytes(b"x")
    key = tuning.portrait_key(str(tmp_path / "me.png"))
    assert len(key) == 64 and tuning.portrait_key("12.4") == "12.4" and tuning.portrait_key(None) == ""


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
