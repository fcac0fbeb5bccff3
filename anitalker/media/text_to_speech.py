"""Speak a text on this machine: by espeak-ng from the wheel espeakng-loader, or piper with the user's own voice file.

Letters: N samples of sound. espeak-ng is GPL-3.0: a separate library, loaded only when a text is spoken.
"""

from __future__ import annotations

import _ctypes
import ctypes
import logging
import re
import struct
import threading
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from anitalker.config import InputError
from anitalker.files import existing_file
from anitalker.media.video import SYNTHETIC_COMMENT

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

MAX_PIECE_CHARACTERS = 300  # spoken at once: longer sentences are cut at commas, then at spaces
MAX_TEXT_CHARACTERS = 20_000  # about twenty minutes of speech
PAUSE_SECONDS = 0.25  # between sentences
WORDS_PER_MINUTE = 160  # espeak-ng's rate
MIN_PROBABILITY = 0.35  # below it the guessed language is likely wrong
ESPEAK_CODES = {"zh": "cmn", "no": "nb"}  # py3langid's codes -> espeak-ng's, where they differ
_espeak_lock = threading.Lock()  # espeak-ng keeps its state in globals

log = logging.getLogger(__name__)


def guess_language(text: str) -> str:
    """The language of a text by py3langid, among those that espeak-ng speaks, as its code (en, de, cmn ...).

    Whole sentences are recognised well; one or two words may not be. An ASCII text whose language is doubtful counts as
    English. Without py3langid every text does, and a warning says so.
    """
    try:
        identifier = _language_identifier()
    except ImportError:
        log.warning('the language is taken for English; to have it guessed: pip install "anitalker[voice]"')
        return "en"
    language, probability = identifier.classify(text)
    if probability < MIN_PROBABILITY and text.isascii():
        return "en"
    return ESPEAK_CODES.get(language, language)


@cache
def _language_identifier() -> LanguageIdentifier:
    """py3langid's classifier, restricted to what espeak-ng speaks. Its model is a file of the wheel."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    # A short Chinese text is read as Mandarin, not as Cantonese; the wheel of espeak-ng has no Faroese dictionary.
    spoken = {voice.name.split("-")[0] for voice in voices()} - {"yue", "fo"}
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([label for label in identifier.labels if ESPEAK_CODES.get(label, label) in spoken])
    return identifier


def sentences(text: str, max_characters: int = MAX_PIECE_CHARACTERS) -> list[str]:
    """Split a text after sentences, and longer sentences after commas, else at spaces: pieces of at most
    `max_characters` characters, none without a letter or digit."""
    pieces = []
    for sentence in re.split(r"(?<=[.!?…])[\"')\]»”]*\s+|(?<=[。!?])|\n+", text):
        rest = " ".join(sentence.split())
        while len(rest) > max_characters:
            head = rest[:max_characters]
            cut = max((head.rfind(mark) + 1 for mark in (", ", "; ", ": ", ",", "、")), default=0)
            cut = cut if cut > max_characters // 4 else head.rfind(" ")
            cut = cut if cut > 0 else max_characters
            pieces.append(rest[:cut].strip())
            rest = rest[cut:].strip()
        pieces += [rest] if any(letter.isalnum() for letter in rest) else []
    return pieces


@dataclass(frozen=True)
class Voice:
    """A voice of espeak-ng. name: code of its language, as --voice takes it; language: its name in words."""

    name: str
    language: str


@cache
def voices() -> tuple[Voice, ...]:
    """The voices of espeak-ng, sorted by language code; InputError if it is not installed."""
    with _Espeak() as engine:
        available = {Voice(record.code, record.name.decode("utf-8", "replace")) for record in engine.records()}
    return tuple(sorted(available, key=lambda voice: voice.name))


class SpeechFacts(TypedDict):
    """A spoken text: its length in seconds, the voice that spoke, and the number of sentences."""

    seconds: float
    voice: str
    sentences: int


def speak(
    text: str, output: Path, voice: str | None = None, progress: Callable[[str, int, int], None] | None = None
) -> SpeechFacts:
    """Speak a text into a WAV file, mono, 16 bit, whose comment says that the voice is synthetic.

    voice: an espeak-ng language (en, en-us, de, cmn ...), a piper voice file (.onnx with its .json beside it), or None
    to guess the language. progress(stage, done, total) counts sentences; an exception that it raises ends the work.
    InputError for a text without words or longer than MAX_TEXT_CHARACTERS, an unknown voice, or a missing package.
    """
    pieces = sentences(text)
    if not pieces:
        raise InputError(f"text is {text[:40]!r}; give at least one word to speak")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise InputError(
            f"text has {len(text):,} characters; allowed are {MAX_TEXT_CHARACTERS:,}; speak it in several texts"
        )
    voice = voice or guess_language(text)
    sounds = []
    with _Piper(voice) if str(voice).endswith(".onnx") else _Espeak(voice) as engine:
        rate = engine.rate
        for done, piece in enumerate(pieces, 1):
            sounds += [engine.say(piece), np.zeros(int(PAUSE_SECONDS * rate), np.int16)]
            if progress:
                progress("voice", done, len(pieces))
    samples = np.concatenate(sounds[:-1])
    if not samples.any():
        raise InputError(f"voice {voice!r} has no sound for this text; name the language, e.g. --voice en")
    write_wav(output, samples, rate, SYNTHETIC_COMMENT)
    return {"seconds": len(samples) / rate, "voice": str(voice), "sentences": len(pieces)}


def write_wav(path: Path, samples: np.ndarray, rate: int, comment: str = "") -> None:
    """Write int16 samples [N] at `rate` samples per second as a mono WAV file, with a comment in its metadata."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    if comment:
        _append_comment(path, comment)


def _append_comment(path: Path, comment: str) -> None:
    """Append a list of information (LIST, INFO, ICMT) to a WAV file; `wave` writes none."""
    text = comment.encode() + b"\0" * (2 - len(comment.encode()) % 2)  # it ends with a zero, at an even place
    body = b"INFOICMT" + struct.pack("<I", len(text)) + text
    with open(path, "r+b") as file:
        file.seek(0, 2)
        file.write(b"LIST" + struct.pack("<I", len(body)) + body)
        size = file.tell()
        file.seek(4)
        file.write(struct.pack("<I", size - 8))


class _VoiceRecord(ctypes.Structure):
    """espeak_VOICE of speak_lib.h. languages: a priority byte, then the code of the language."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("reserved", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )

    @property
    def code(self) -> str:
        """Code of its first language."""
        return self.languages[1:].decode()


_SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class _Espeak:
    """Context manager: espeak-ng, loaded anew each time. A library that stays loaded does not say the same text in the
    same way twice, because its flutter and its wave generator keep their state."""

    def __init__(self, voice: str = "en") -> None:
        try:
            import espeakng_loader
        except ImportError:
            raise InputError(
                'speaking a text needs espeak-ng; install the extra: pip install "anitalker[voice]"'
            ) from None
        self.voice, self.loader = voice, espeakng_loader
        self._chunks: list[np.ndarray] = []
        self._callback = _SYNTH_CALLBACK(self._collect)

    def __enter__(self) -> _Espeak:
        _espeak_lock.acquire()
        try:
            self.library = library = ctypes.CDLL(self.loader.get_library_path())
            library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_VoiceRecord))
            synchronous, dont_exit = 2, 0x8000  # AUDIO_OUTPUT_SYNCHRONOUS; espeakINITIALIZE_DONT_EXIT
            self.rate = library.espeak_Initialize(synchronous, 0, self.loader.get_data_path().encode(), dont_exit)
            if self.rate <= 0:
                raise RuntimeError("espeak-ng did not start")
            library.espeak_SetSynthCallback(self._callback)
            library.espeak_SetParameter(1, WORDS_PER_MINUTE, 0)  # espeakRATE
            if not self._select(self.voice):
                raise InputError(
                    f"voice is {self.voice!r}; allowed are a piper voice file (.onnx), or a language that espeak-ng "
                    "speaks, by its code: en, en-us, en-gb, de, fr, es, it, pt, nl, pl, ru, tr, cmn, ja, hi, ar ..."
                )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.library.espeak_Terminate()
            unload = getattr(_ctypes, "dlclose", None) or getattr(_ctypes, "FreeLibrary")  # noqa: B009 (of Windows)
            unload(self.library._handle)
        finally:
            _espeak_lock.release()

    def records(self) -> Iterator[_VoiceRecord]:
        """List the installed voices."""
        pointers: Iterator[Any] = takewhile(bool, self.library.espeak_ListVoices(None))
        return (pointer.contents for pointer in pointers)

    def _select(self, code: str) -> bool:
        """Whether a voice has this name, or else this language: en-gb, say, is the first language of the voice en."""
        if not re.fullmatch(r"[\w+-]{1,40}", code):  # a name, never a path
            return False
        identifiers = (record.identifier for record in self.records() if record.code == code)
        return any(self.library.espeak_SetVoiceByName(name) == 0 for name in (code.encode(), *identifiers))

    def _collect(self, samples, count: int, _events) -> int:
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, text: str) -> np.ndarray:
        """Speak a text: int16 [N] at `rate` samples per second."""
        data = text.encode() + b"\0"
        self._chunks.clear()
        self.library.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 1, 0, 1, None, None)  # 1: UTF-8
        self.library.espeak_Synchronize()
        return np.concatenate([*self._chunks, np.zeros(0, np.int16)])


class _Piper:
    """Context manager with the interface of `_Espeak`, for a piper voice file."""

    def __init__(self, file: str) -> None:
        path = existing_file(file, "voice")
        existing_file(f"{file}.json", "voice's description")
        try:
            from piper import PiperVoice  # pyright: ignore[reportMissingImports] (the user installs it)
        except ImportError:
            raise InputError(f"voice {path.name!r} needs piper; install it: pip install piper-tts") from None
        self.voice = PiperVoice.load(str(path))
        self.rate = self.voice.config.sample_rate

    def __enter__(self) -> _Piper:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, text: str) -> np.ndarray:
        """Speak a text: int16 [N] at `rate` samples per second."""
        return np.concatenate([chunk.audio_int16_array for chunk in self.voice.synthesize(text)])
