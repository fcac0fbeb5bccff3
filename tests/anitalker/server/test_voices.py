"""Voices for texts: visitors choose by name, a folder of piper voices is offered, files cannot be named."""

import pytest

from anitalker.config import InputError
from anitalker.server.voices import Voices


@pytest.fixture
def folder(tmp_path):
    for name in ("amy.onnx", "amy.onnx.json", "no-description.onnx"):
        (tmp_path / name).write_text("{}")
    return tmp_path


def test_languages_are_offered():
    pytest.importorskip("espeakng_loader")
    choices = Voices().choices()
    assert choices[0] == ("Guess from the text", "") and "de" in [value for _, value in choices]
    assert "German" in Voices().name_of("de") and "espeak-ng" in Voices().name_of("de")


def test_a_folder_of_piper_voices_is_offered_by_name(folder):
    voices = Voices(folder)
    assert ("amy (piper)", "piper:amy") in voices.choices()
    assert voices.resolve("piper:amy") == str(folder / "amy.onnx") and voices.resolve("") is None
    assert voices.name_of(str(folder / "amy.onnx")) == "amy, piper"


@pytest.mark.parametrize("value", ["piper:no-description", "piper:../amy", "/etc/voice.onnx"])
def test_a_visitor_names_no_file(folder, value):
    with pytest.raises(InputError, match="voice"):
        Voices(folder).resolve(value)


def test_an_empty_folder_is_reported(tmp_path):
    with pytest.raises(InputError, match="which has no voice; give a folder"):
        Voices(tmp_path)
