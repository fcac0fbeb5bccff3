"""Which sound is marked: spoken texts and dubbed tracks are, recordings are not; verify reads it from any file."""

import json
import subprocess

import pytest

from anitalker.cli import main
from anitalker.config import DubOptions, RenderOptions
from anitalker.media.text_to_speech import speak
from anitalker.media.video import SYNTHETIC_COMMENT, ffmpeg, probe, read_audio
from anitalker.pipeline import load
from anitalker.provenance.audio_mark_search import detect_sound
from anitalker.provenance.credentials import Generator, sign_file
from anitalker.provenance.identity import signing_identity
from anitalker.provenance.law import checklist
from anitalker.provenance.synthetic_sound import has_synthetic_voice, mark_speech_file, marked_sound
from anitalker.provenance.verify import verify
from anitalker.streaming.fragmented_mp4 import pcm

TEXT = "This text is spoken by a machine. It takes more than five seconds, so that its identifier can be read."


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    file = tmp_path_factory.mktemp("spoken") / "speech.wav"
    speak(TEXT, file, "en")
    return file


def test_a_spoken_text_says_so(spoken, clicks, example_portrait, tmp_path):
    """By the comment of the WAV file, which is a whole one; recordings and pictures do not."""
    assert probe(spoken).comment == SYNTHETIC_COMMENT
    assert int.from_bytes(spoken.read_bytes()[4:8], "little") == spoken.stat().st_size - 8
    assert has_synthetic_voice([example_portrait, spoken])
    (tmp_path / "person.safetensors").write_bytes(bytes(100))
    assert not has_synthetic_voice([example_portrait, clicks, tmp_path / "person.safetensors"])


def test_credentials_say_so_too(clicks, tmp_path):
    signed = tmp_path / "signed.wav"
    identity = signing_identity()
    assert identity is not None
    sign_file(clicks, signed, Generator("a synthesiser"), identity, "signed.wav")
    assert probe(signed).comment is None and has_synthetic_voice([signed])


def test_a_spoken_file_is_marked_in_its_place(spoken, tmp_path):
    """As the page does before a voice is heard: as long as before, and it still says that it is synthetic."""
    copy = tmp_path / "speech.wav"
    copy.write_bytes(spoken.read_bytes())
    mark_speech_file(copy)
    verdict = verify(copy)
    assert verdict["audio_mark"]["found"] and verdict["identifiers"]["sound"]
    assert verdict["comment"] == SYNTHETIC_COMMENT and probe(copy).seconds == probe(spoken).seconds


@pytest.mark.slow
def test_a_stream_of_a_synthetic_voice_is_marked(spoken, talker, untrained_model, example_portrait, tmp_path, capsys):
    """A file that says so itself, or what the user says of bare samples; `talker` only brings a face."""
    bare = tmp_path / "speech.pcm"
    bare.write_bytes(pcm(read_audio(spoken)))
    for speech, flags, is_marked in (spoken, [], True), (bare, ["--synthetic-voice"], True), (bare, [], False):
        command = ["stream", str(example_portrait), "--input", str(speech), "-o", str(tmp_path / "out.mp4"), *flags]
        command += ["--model", str(untrained_model), "--frame", "crop", "--json", "--device", "cpu"]
        assert main(command) == 0
        identifier = json.loads(capsys.readouterr().out)["identifier"]
        detection = detect_sound(read_audio(tmp_path / "out.mp4"))
        assert detection.found == is_marked and detection.identifier == (identifier if is_marked else None)


@pytest.mark.parametrize("name", ["sound.wav", "sound.mp3", "sound.mp4"])
def test_verify_reads_it(name, spoken, tmp_path, capsys):
    """Also as JSON and in words; of a copy that has lost everything else."""
    copy = tmp_path / name
    with marked_sound(spoken, "0123456789abcdef") as sound:
        command = ["-v", "error", "-i", str(sound), "-map_metadata", "-1", "-b:a", "96k", str(copy)]
        subprocess.run([ffmpeg(), *command], check=True)
        assert abs(len(read_audio(sound)) - len(read_audio(spoken))) <= 1
    assert main(["verify", str(copy), "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["audio_mark"]["found"] and verdict["audio_mark"]["score"] > verdict["audio_mark"]["threshold"]
    assert verdict["identifier"] == verdict["identifiers"]["sound"] == "0123456789abcdef"
    rows = [row for row in checklist("eu", verdict) if "inaudible" in row["asks"]]
    assert [row["state"] for row in rows] == ["has"] and rows[0]["read_from"] == "sound"
    assert verdict["made_by"] == "anitalker" and verdict["state"] == "altered" and verdict["comment"] is None
    assert main(["verify", str(copy)]) == 0
    out = capsys.readouterr().out
    assert "audio mark: found" in out and "0123456789abcdef (from sound)" in out


def test_recordings_have_none(clicks, example_portrait):
    sound = verify(clicks)
    assert sound["audio_mark"] is not None and not sound["audio_mark"]["found"] and sound["made_by"] == "unknown"
    silent = verify(example_portrait)
    assert silent["audio_mark"] is None
    assert {row["state"] for row in checklist("eu", silent) if "inaudible" in row["asks"]} == {"optional"}


@pytest.mark.slow
@pytest.mark.parametrize("case", ["spoken", "spoken, no marks", "recorded"])
def test_of_a_render(case, spoken, root, talker, example_portrait, tmp_path):
    output = tmp_path / "out.mp4"
    speech = root / "app/examples/speech.flac" if case == "recorded" else spoken
    facts = talker.render(example_portrait, speech, output, RenderOptions(marks=case != "spoken, no marks", size=128))
    verdict = verify(output)
    assert verdict["audio_mark"]["found"] == (case == "spoken")
    assert verdict["identifiers"]["sound"] == (facts["identifier"] if case == "spoken" else None)
    if case != "spoken, no marks":
        assert verdict["credentials"]["identifier"] == facts["identifier"], "also beside a second binding"


@pytest.mark.slow
@pytest.mark.parametrize("marks", [True, False])
def test_of_a_dub(marks, root, tmp_path):
    """The new sound of a filmed video is marked, although a person spoke it."""
    examples, output = root / "app/examples", tmp_path / "dub.mp4"
    options, dubbing = RenderOptions(marks=marks, size=128), DubOptions(fit="loop")
    facts = load("lite", "cpu").dub(examples / "driving.mp4", examples / "speech.flac", output, options, dubbing)
    verdict = verify(output)
    assert verdict["audio_mark"]["found"] == marks
    assert verdict["identifiers"]["sound"] == (facts["identifier"] if marks else None)
