"""Text to speech: languages, sentences, a WAV that is heard, and `anitalker say`."""

import json
import sys
import types

import numpy as np
import pytest

from anitalker.cli import main
from anitalker.config import InputError
from anitalker.media import text_to_speech
from anitalker.media.video import probe, read_audio

SPOKEN = {
    "en": "Hello, how are you today? This is a test of the voice.",
    "de": "Guten Morgen, wie geht es dir? Das ist eine Probe.",
    "fr": "Bonjour, je suis content de vous voir avec eux.",
    "es": "Hola, ¿cómo está usted? Yo soy de Madrid.",
    "it": "Ciao, come stai? Questo è un esempio della voce.",
    "pt": "Olá, como você está? Não sei o que fazer.",
    "nl": "Hallo, hoe gaat het met je? Dit is een voorbeeld van de stem.",
    "pl": "Dzień dobry, jak się masz? To jest próba.",
    "sv": "Hej, hur mår du? Det här är ett prov och jag talar.",
    "tr": "Merhaba, bu bir deneme ve ben çok iyiyim, sen nasılsın?",
    "ru": "Привет, как дела? Это проба голоса.",
    "uk": "Привіт, як справи? Це проба голосу для вас.",
    "cmn": "你好,今天天气很好。",
    "ja": "こんにちは、お元気ですか。",
    "ko": "안녕하세요, 반갑습니다.",
    "el": "Καλημέρα, τι κάνεις;",
    "ar": "مرحبا، كيف حالك اليوم؟",
}


@pytest.mark.slow
@pytest.mark.parametrize("language", SPOKEN)
def test_the_language_is_guessed(language):
    assert text_to_speech.guess_language(SPOKEN[language]) == language


@pytest.mark.slow
@pytest.mark.parametrize("text", ["42 Xyzzy", "Hello.", "Yes", "Come in.", "My name is Anna."])
def test_a_doubtful_ascii_text_counts_as_english(text):
    assert text_to_speech.guess_language(text) == "en"


def test_a_doubtful_text_in_other_letters_is_not_english():
    assert text_to_speech.guess_language("Доброе утро.") == "ru" and text_to_speech.guess_language("你好") == "cmn"


def test_without_py3langid_it_is_english_and_a_warning_says_so(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    text_to_speech._language_identifier.cache_clear()
    assert text_to_speech.guess_language(SPOKEN["de"]) == "en"
    assert 'pip install "anitalker[voice]"' in caplog.text and caplog.text.count("\n") == 1


def test_long_texts_are_split_at_sentences():
    text = "One sentence. Another one! A third?\n\nAnd a new paragraph without an end"
    pieces = ["One sentence.", "Another one!", "A third?", "And a new paragraph without an end"]
    assert text_to_speech.sentences(text) == pieces
    assert text_to_speech.sentences("今天好。明天也好。") == ["今天好。", "明天也好。"]


def test_nothing_of_a_long_sentence_is_lost():
    text = "word, " * 200 + "x" * 700
    pieces = text_to_speech.sentences(text)
    assert max(map(len, pieces)) <= text_to_speech.MAX_PIECE_CHARACTERS
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")
    assert all(piece.endswith(",") for piece in pieces[:4]), "cut at commas"


def loudness(path):
    return float(np.sqrt((read_audio(path) ** 2).mean()))


def test_speech_is_heard_and_grows_with_the_text(tmp_path):
    short = text_to_speech.speak("Hello.", tmp_path / "short.wav", "en")
    steps = []
    text = "Hello, this is a longer text. It has two sentences."
    long = text_to_speech.speak(text, tmp_path / "long.wav", "en", lambda *step: steps.append(step))
    assert steps == [("voice", 1, 2), ("voice", 2, 2)]
    assert long["sentences"] == 2 and long["seconds"] > 2 * short["seconds"] > 0.4
    assert abs(probe(tmp_path / "long.wav").seconds - long["seconds"]) < 0.02
    assert loudness(tmp_path / "short.wav") > 0.02 and loudness(tmp_path / "long.wav") > 0.02


def test_the_same_text_is_the_same_sound_and_languages_differ(tmp_path):
    for name, language in (("a", "en"), ("b", "en"), ("c", "de")):
        text_to_speech.speak("Information", tmp_path / name, language)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()


@pytest.mark.slow
def test_every_language_that_is_guessed_can_be_spoken(tmp_path):
    languages = [
        text_to_speech.ESPEAK_CODES.get(label, label) for label in text_to_speech._language_identifier().labels
    ]
    assert set(SPOKEN) <= set(languages)
    for code in languages:
        assert text_to_speech.speak("1 2", tmp_path / "out.wav", code)["seconds"] > 0.3, code


def test_listed_voices_can_be_chosen(tmp_path):
    """en-gb and fr-fr are languages of voices with other names."""
    names = {entry.name for entry in text_to_speech.voices()}
    for code in ("en-us", "en-gb", "fr-fr", "de", "cmn"):
        assert code in names and text_to_speech.speak("1 2", tmp_path / "out.wav", code)["voice"] == code


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        (" ... ", None, "at least one word"),
        ("word " * 5000, "en", "allowed are 20,000"),
        ("hello", "xx-none", "allowed are a piper voice file"),
        ("hello", "../../etc/passwd", "allowed are a piper voice file"),
        ("hello", "missing.onnx", "voice is missing"),
    ],
)
def test_wrong_input(tmp_path, text, name, words):
    with pytest.raises(InputError, match=words):
        text_to_speech.speak(text, tmp_path / "out.wav", name)
    assert not (tmp_path / "out.wav").exists()


@pytest.fixture
def piper_file(tmp_path):
    for name in ("my.onnx", "my.onnx.json"):
        (tmp_path / name).write_text("{}")
    return tmp_path / "my.onnx"


def test_a_voice_file_goes_to_piper(piper_file, tmp_path, monkeypatch):
    """A stand-in with piper's interface (1.3 and later): each sentence in chunks of 16 bit samples."""

    class PiperVoice:
        config = types.SimpleNamespace(sample_rate=1000)

        @classmethod
        def load(cls, path):
            assert path == str(piper_file)
            return cls()

        def synthesize(self, text):
            for word in text.split():
                yield types.SimpleNamespace(audio_int16_array=np.full(len(word) * 100, 500, np.int16))

    monkeypatch.setitem(sys.modules, "piper", types.SimpleNamespace(PiperVoice=PiperVoice))
    facts = text_to_speech.speak("ab cde. f", tmp_path / "out.wav", str(piper_file))
    assert facts["seconds"] == pytest.approx(0.7 + text_to_speech.PAUSE_SECONDS) and facts["sentences"] == 2


@pytest.mark.parametrize(("module", "name"), [("piper", "file"), ("espeakng_loader", "en")])
def test_what_is_not_installed_is_named(piper_file, tmp_path, monkeypatch, module, name):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match="pip install"):
        text_to_speech.speak("hello", tmp_path / "out.wav", str(piper_file) if name == "file" else name)


@pytest.mark.slow
def test_say(monkeypatch, fixed_finder, example_portrait, untrained_model, tmp_path, capsys):
    monkeypatch.setattr("anitalker.models.loading.load_finder", lambda backend, device: fixed_finder())
    model = ["--model", str(untrained_model), "--device", "cpu", "--steps", "1", "--frame", "crop"]
    out = str(tmp_path / "out.mp4")
    assert main(["say", str(example_portrait), "Guten Tag, das ist gut.", "-o", out, "--json", *model]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["voice"] == "de" and 20 < facts["frames"] < 80
    media = probe(out)
    assert media.audio_codec == "aac" and abs(media.seconds - facts["seconds"]) < 0.1
    assert main(["say", str(example_portrait), "", "-o", str(tmp_path / "no.mp4"), *model]) == 2
    assert "at least one word" in capsys.readouterr().err and not (tmp_path / "no.mp4").exists()
