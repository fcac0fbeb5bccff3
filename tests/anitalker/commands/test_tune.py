"""anitalker tune on the command line: consent comes first, and the summary says what is in the file."""

import json
import pickle

import pytest

from anitalker.cli import main
from anitalker.commands.tune import print_summary
from anitalker.person.tuning import TuneFacts
from anitalker.pipeline import Talker

FACTS = {name: None for name in TuneFacts.__annotations__}
FACTS |= {"output": "me.safetensors", "bytes": 870_000, "seconds": 36.0, "speech_seconds": 30.0, "references": 7}
FACTS |= {"photos": 0, "mouth": (0.67, 0.52), "lips": None, "finished": True, "exit_status": 0}


@pytest.mark.parametrize("consent", [[], ["--consent", " "]])
def test_without_consent_nothing_is_loaded(capsys, tmp_path, monkeypatch, consent):
    monkeypatch.setattr("anitalker.models.loading.load", lambda *_: pytest.fail("loaded"))
    assert main(["tune", "me.mp4", "-o", str(tmp_path / "me.safetensors"), *consent]) == 2
    assert capsys.readouterr().err == 'error: consent is missing; say who agreed to this avatar: --consent "NAME"\n'


def test_arguments_reach_the_talker(capsys, tmp_path, monkeypatch, untrained_model):
    seen = []

    def tune(talker, videos, output, options, progress):
        seen.append((videos, output, options))
        return FACTS | {"exit_status": 130}

    monkeypatch.setattr(Talker, "tune", tune)
    target = str(tmp_path / "me.safetensors")
    model = ["--model", str(untrained_model), "--device", "cpu", "--json"]
    command = ["tune", "a.mp4", "b.mp4", "-o", target, "--consent", "Ada", *model]
    command += ["--portrait", "3.5", "--minutes", "2"]
    assert main(command) == 130
    assert json.loads(capsys.readouterr().out)["references"] == 7
    (videos, output, options) = seen[0]
    assert videos == ["a.mp4", "b.mp4"] and output == target
    assert (options.consent, options.portrait, options.minutes) == ("Ada", "3.5", 2.0)


def test_the_summary_tells_what_others_can_see(capsys):
    print_summary(FACTS | {"finished": False})
    out = capsys.readouterr().out
    assert "me.safetensors: 0.9 MB, of 36 s of video, 30 s of them with speech; broken off" in out
    assert "can see the portrait and 7 pictures of the mouth" in out
    assert "mouth: error on held-out video 0.670 -> 0.520" in out and "lips: as shipped" in out


def test_the_summary_of_photos_and_of_a_silent_video(capsys):
    print_summary(FACTS | {"photos": 4, "references": 3, "mouth": None})
    out = capsys.readouterr().out
    assert "me.safetensors: 0.9 MB, of 4 photos\n" in out and "3 pictures of the mouth" in out and "lips" not in out
    print_summary(FACTS | {"speech_seconds": 0.0})
    assert "no speech: lips, head and rest move as usual" in capsys.readouterr().out


def test_code_in_place_of_a_person_file_is_one_line(capsys, tmp_path, untrained_model, clicks):
    code, output = tmp_path / "person.safetensors", tmp_path / "out.mp4"
    code.write_bytes(pickle.dumps(exit))
    model = ["--model", str(untrained_model), "--device", "cpu"]
    assert main(["render", str(code), str(clicks), "-o", str(output), *model]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: person file") and "is no safetensors file" in err and err.count("\n") == 1
    assert not output.exists()


def test_a_model_without_a_mouth_cannot_be_tuned(capsys, tmp_path, untrained_model):
    model = ["--model", str(untrained_model), "--device", "cpu"]
    (tmp_path / "me.mp4").write_bytes(b"x")
    command = ["tune", str(tmp_path / "me.mp4"), "-o", str(tmp_path / "me.safetensors"), "--consent", "Ada", *model]
    assert main(command) == 2
    assert "cannot be tuned: it has no mouth synthesiser; take --model lite" in capsys.readouterr().err
