"""Training of the phonetic encoder on a made-up language of tones: corpora, learning, resuming, scores."""

import csv
import io
import json
import tarfile

import numpy as np
import pytest
import soundfile
import torch

from anitalker.config import InputError
from encoders.phonetic import TOKENS
from encoders.speech import SpeechFeatures
from scripts import train_speech_encoder
from scripts.training import phonetic_data, speech_corpus
from scripts.training.speech_corpus import IGNORED, labelled, phone_frames, tokens_of_ipa, unlabelled

SPELLED = {"ɑ": 300, "i": 900, "s": 3000}  # a tone in Hz for each phone


def speak(rng: np.random.Generator, count: int) -> tuple[np.ndarray, list[str], list[int]]:
    """Tones of .2 s: samples, phones, starts in ms."""
    phones = [str(phone) for phone in rng.choice(list(SPELLED), count)]
    time = np.arange(3200) / 16_000
    sound = np.concatenate([0.2 * np.sin(2 * np.pi * SPELLED[phone] * time) for phone in phones])
    return (
        (sound + 0.001 * rng.standard_normal(len(sound))).astype(np.float32),
        phones,
        list(range(0, 200 * count, 200)),
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A labelled folder: English with phones, German with IPA alone, in a tar and as files."""
    folder, rng = tmp_path_factory.mktemp("phones"), np.random.default_rng(0)
    (folder / "audio").mkdir()
    rows, labels = [], {}
    with tarfile.open(folder / "audio-train.tar", "w") as tar:
        for number in range(10):
            language, split = "de" if number % 5 == 4 else "en", "val" if number > 7 else "train"
            name, (sound, phones, starts) = f"u{number}", speak(rng, 12)
            rows.append({"id": name, "split": split, "speaker": name, "language": language, "corpus": "tones"})
            labels[name] = {"ipa": " ".join(phones)}
            if language == "en":
                labels[name] |= {"p": [TOKENS.index(p) for p in phones], "t": starts, "end": 2400}
            if number % 2:
                soundfile.write(folder / "audio" / f"{name}.flac", sound, 16_000)
            else:
                buffer = io.BytesIO()
                soundfile.write(buffer, sound, 16_000, format="FLAC")
                member = tarfile.TarInfo(f"{name}.flac")
                member.size = len(buffer.getvalue())
                buffer.seek(0)
                tar.addfile(member, buffer)
    with open(folder / "manifest.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "phones.json").write_text(json.dumps({"utts": labels}))
    return folder


def test_a_corpus_is_read_from_tars_and_folders(corpus):
    train, val = labelled(corpus, "train"), labelled(corpus, "val")
    assert sorted(r.id for r in train) == [f"u{k}" for k in range(8)] and sorted(r.id for r in val) == ["u8", "u9"]
    german = next(r for r in train if r.id == "u4")
    assert german.phones is None and len(german.tokens) == 12 and german.language == "de"
    english = next(r for r in train if r.id == "u0")
    assert len(english.phones) == 121 and english.sound.dtype == np.int16 and english.seconds == 2.4
    assert len(unlabelled(corpus)) == 8  # val stays unheard
    with pytest.raises(InputError, match=r"no manifest\.csv"):
        labelled(corpus / "audio", "train")


def test_a_corpus_comes_from_the_cache_the_second_time(corpus, tmp_path):
    first = speech_corpus.cached("x", tmp_path, lambda: labelled(corpus, "train"))
    again = speech_corpus.cached("x", tmp_path, lambda: pytest.fail("read twice"))
    for a, b in zip(first, again, strict=True):
        assert (a.id, a.tokens, a.language) == (b.id, b.tokens, b.language) and np.array_equal(a.sound, b.sound)
        assert (a.phones is None) == (b.phones is None)


def test_labels_become_frames_and_ipa_becomes_tokens():
    frames = phone_frames({"p": [7, 255, 3], "t": [0, 100, 200], "end": 300})
    assert frames.tolist() == [7] * 5 + [IGNORED] * 5 + [3] * 6
    assert [TOKENS[k] for k in tokens_of_ipa("aʊsçraŋk tsiːɡə")] == [
        *["aʊ", "s", "ç", "ɾ", "a", "ŋ", "k", "ts", "i", "ɡ", "ə"]
    ]


@pytest.mark.slow
def test_it_learns_resumes_and_hears_what_was_said(corpus, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(phonetic_data, "CROP_SECONDS", 1.0)
    monkeypatch.setattr(train_speech_encoder, "UTTERANCES", 1)
    common = ["--phones", str(corpus), "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "run")]
    common += ["--width", "32", "--batch", "4", "--lr", "0.01", "--warm", "5", "--dtype", "float32", "--decay", "0.8"]
    assert train_speech_encoder.main([*common, "--steps", "5", "--score", "0"]) == 0
    assert train_speech_encoder.main([*common, "--steps", "40", "--score", "40"]) == 0
    text = capsys.readouterr().out
    assert "resumed at step 5 of 40" in text and "val phones_native" in text and "per_de" in text
    network = train_speech_encoder.load_teacher(str(tmp_path / "run"))
    scores = train_speech_encoder.accuracy(network, SpeechFeatures(pitch=False), labelled(corpus, "val"))
    assert scores["phones_native"] > 0.5 and scores["visemes_native"] >= scores["phones_native"]


def test_a_teacher_that_looks_further_ahead_answers_for_the_same_frames(corpus, tmp_path, monkeypatch):
    """Student and teacher of different delays are compared frame by frame: equal networks but for a shift agree."""

    class Echo(torch.nn.Module):
        """Answers the level of the mel `delay` phone frames ago."""

        def __init__(self, delay):
            super().__init__()
            self.delay = delay

        def forward(self, mel, state=None):
            level = mel[:, ::2, :1].roll(self.delay, 1) * 10
            return torch.cat([level, torch.zeros(*level.shape[:2], len(TOKENS) - 1)], -1), level

    mel = torch.randn(2, 80, 80)
    phones = torch.full((2, 40), IGNORED)
    batch = train_speech_encoder.PhoneticBatch(mel, mel, phones, mel[:0], [], torch.zeros(0))
    losses = []
    for delay in (3, 9):
        objective = train_speech_encoder.PhoneticObjective(Echo(3), "float32")
        objective.teacher = [Echo(delay)]
        losses.append(float(objective(batch, 0)[0]["soft"]))
    answers = Echo(0)(mel)[0].softmax(-1)
    entropy = -(answers * answers.clamp(min=1e-9).log()).sum(-1)
    assert losses[0] == pytest.approx(float(entropy[:, :37].mean()), rel=1e-3)
    assert losses[1] == pytest.approx(float(entropy[:, :31].mean()), rel=1e-3)
