"""Recordings for the phonetic encoder: phone labels per frame, IPA strings, or nothing but sound.

A labelled folder (shared/data/phones is one) holds `manifest.csv` (id, split, speaker, language, corpus ...),
`phones.json` (per utterance `p` phone numbers, 255 unknown, `t` their starts and `end` in ms, `ipa`) and the sound: in
`audio*.tar` or in `audio/`, as ID.opus, ID.flac or ID.wav. Any other folder gives sound without labels.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from anitalker.config import SAMPLE_RATE, InputError
from anitalker.files import write_whole
from encoders.audio import level_gain, to_mono
from encoders.phonetic import ENGLISH, TOKENS
from scripts.training.data import decode_speech

SUFFIXES = (".opus", ".flac", ".wav", ".ogg", ".mp4")
UNKNOWN = 255  # phone number of what the aligner did not label
IGNORED = -100  # target that cross-entropy leaves out
PHONE_RATE = 50  # phone frames per second
ACCENTED = "speechocean762"  # learners' English under dictionary labels
DROPPED = "ːˤʰ-?() \u0303\u0329"  # length, aspiration and the like: no token of their own
NEAREST = {
    "r": "ɾ", "ʂ": "ʃ", "ɕ": "ç", "ʐ": "ʒ", "ʑ": "ʒ", "ɻ": "ɹ", "ɥ": "y", "ɤ": "ə", "ɚ": "ɝ", "ɜ": "ɝ", "β": "v",
    "ɣ": "ɡ", "ʕ": "ʔ", "ħ": "h", "ʝ": "j", "ʎ": "l", "œ": "ø", "ɐ": "ə", "ʁ": "x", "ɫ": "l", "q": "k", "g": "ɡ",
    "ʏ": "y", "ɒ": "ɑ", "ɨ": "ɪ", "c": "k", "ɬ": "l", "ʀ": "x", "χ": "x", "ɸ": "f", "ʈ": "t",
}  # fmt: skip
LONGEST = max(map(len, TOKENS))


@dataclass
class Recording:
    """sound int16 [N] at 16 kHz, at the level of the features; phones int64 [J] with IGNORED, or None; tokens: those of
    the IPA string, or none.
    """

    id: str
    corpus: str
    language: str
    sound: np.ndarray
    phones: np.ndarray | None = None
    tokens: tuple[int, ...] = ()

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.sound) / SAMPLE_RATE


def tokens_of_ipa(text: str) -> tuple[int, ...]:
    """Token numbers of an IPA string: the longest token at every place; unknown symbols become the nearest or none."""
    text = text.replace("ɔø", "ɔɪ").replace("ɔʏ", "ɔɪ")
    plain = "".join(NEAREST.get(symbol, symbol) for symbol in text if symbol not in DROPPED)
    numbers, at = [], 0
    while at < len(plain):
        size = next((n for n in range(LONGEST, 0, -1) if plain[at : at + n] in TOKENS[1:]), 0)
        if size:
            numbers.append(TOKENS.index(plain[at : at + size]))
        at += size or 1
    return tuple(numbers)


def phone_frames(label: dict) -> np.ndarray:
    """Phone number per frame [J], frame k centred on k / 50 s, IGNORED where it is unknown."""
    starts = np.array(label["t"])
    times = np.arange(int(label["end"] * PHONE_RATE / 1000) + 1) * 1000 / PHONE_RATE
    place = np.searchsorted(starts, times, side="right") - 1
    phones = np.array(label["p"])[place.clip(0, len(starts) - 1)]
    return np.where((phones == UNKNOWN) | (place < 0), IGNORED, phones).astype(np.int64)


def labelled(folder: str | Path, split: str) -> list[Recording]:
    """The recordings of one split that carry phone labels or an IPA string. InputError for a folder of another kind."""
    folder = Path(folder)
    for name in ("manifest.csv", "phones.json"):
        if not (folder / name).is_file():
            raise InputError(f"no {name} in {folder}; a labelled folder holds manifest.csv, phones.json and the sound")
    stored = json.loads((folder / "phones.json").read_text(encoding="utf-8"))
    labels = stored["utts"]
    if "ipa_of_phone" in stored and tuple(stored["ipa_of_phone"]) != ENGLISH:
        raise InputError(f"{folder / 'phones.json'} numbers its phones otherwise than encoders.phonetic.ENGLISH")
    with open(folder / "manifest.csv", newline="", encoding="utf-8") as file:
        rows = {row["id"]: row for row in csv.DictReader(file) if row.get("split", "train") == split}
    recordings = []
    for name, sound in sounds(folder, set(rows) & set(labels)):
        row, label = rows[name], labels[name]
        if label.get("p"):
            recordings.append(Recording(name, row["corpus"], row["language"], sound, phones=phone_frames(label)))
        elif tokens := tokens_of_ipa(label.get("ipa", "")):
            recordings.append(Recording(name, row["corpus"], row["language"], sound, tokens=tokens))
    return recordings


def unlabelled(folder: str | Path, least: float = 1.0) -> list[Recording]:
    """Every recording of a folder that lasts `least` seconds, but those that its manifest keeps for val or tune."""
    folder, banned = Path(folder), set()
    if (folder / "manifest.csv").is_file():
        with open(folder / "manifest.csv", newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row.get("split", "train") != "train" or "NC" in (row.get("licence") or ""):
                    banned.add(row["id"])
    recordings = [Recording(name, folder.name, "", sound) for name, sound in sounds(folder, None) if name not in banned]
    return [recording for recording in recordings if recording.seconds >= least]


def cached(name: str, cache: str | Path, read: Callable[[], list[Recording]]) -> list[Recording]:
    """Recordings from CACHE/NAME.json and .npy, which `read` fills the first time; their sound stays on disk."""
    path = Path(cache) / name
    if not path.with_suffix(".json").is_file():
        recordings = read()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path.with_suffix(".npy"), lambda to: _save(to, [recording.sound for recording in recordings]))
        rows = [
            {"id": r.id, "corpus": r.corpus, "language": r.language, "samples": len(r.sound), "tokens": r.tokens}
            | ({} if r.phones is None else {"phones": r.phones.tolist()})
            for r in recordings
        ]
        write_whole(path.with_suffix(".json"), lambda to: to.write_text(json.dumps(rows), encoding="utf-8"))
    sound, at, recordings = np.load(path.with_suffix(".npy"), mmap_mode="r"), 0, []
    for row in json.loads(path.with_suffix(".json").read_text(encoding="utf-8")):
        piece, at = sound[at : at + row["samples"]], at + row["samples"]
        phones = np.array(row["phones"], np.int64) if "phones" in row else None
        recordings.append(Recording(row["id"], row["corpus"], row["language"], piece, phones, tuple(row["tokens"])))
    return recordings


def _save(path: Path, arrays: list[np.ndarray]) -> None:
    with open(path, "wb") as file:
        np.save(file, np.concatenate([np.zeros(0, np.int16), *arrays]))


def sounds(folder: Path, wanted: set[str] | None) -> Iterator[tuple[str, np.ndarray]]:
    """(id, int16 [N]) of the sound files of a folder, in its tars and folders; wanted: ids, None: all."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".tar":
            with tarfile.open(path) as tar:
                for member in tar:
                    if Path(member.name).suffix in SUFFIXES and (wanted is None or Path(member.name).stem in wanted):
                        handle = tar.extractfile(member)
                        assert handle is not None  # a file, by its suffix
                        yield Path(member.name).stem, decode(handle.read(), Path(member.name).suffix)
        elif path.suffix in SUFFIXES and (wanted is None or path.stem in wanted):
            yield path.stem, decode(path.read_bytes(), path.suffix)


def decode(blob: bytes, suffix: str) -> np.ndarray:
    """A sound file, or a video -> int16 [N] at 16 kHz, mono, brought to the level at which features are taken."""
    if suffix == ".mp4":
        mono = torch.from_numpy(decode_speech(blob))
    else:
        samples, rate = soundfile.read(io.BytesIO(blob), dtype="float32", always_2d=True)
        mono = to_mono(torch.from_numpy(samples).mT, rate)
    return (mono * level_gain(mono) * 32767).clamp(-32768, 32767).short().numpy()
