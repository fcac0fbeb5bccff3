"""Text -> speech on this machine: espeak-ng out of a wheel (extra `voice`), or piper with the user's own voice file.

Letters: N samples of sound. espeak-ng is GPL-3.0 and stays a library of its own, loaded when a text is to be spoken.
"""

from __future__ import annotations

import _ctypes
import ctypes
import re
import threading
import unicodedata
import wave
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from anitalker.config import InputError
from anitalker.pictures import existing_file

LONGEST = 300  # characters that are spoken at once: longer sentences are cut at commas, then at spaces
PAUSE = 0.25  # seconds between sentences
MOST = 20_000  # characters of a text: twenty minutes of speech
RATE = 160  # espeak-ng: words per minute
_ONE_AT_A_TIME = threading.Lock()  # espeak-ng keeps its state in globals

# Letters that decide, then frequent words of languages that share the Latin or Cyrillic letters.
SCRIPTS = {"HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "CJK": "cmn", "ARABIC": "ar", "HEBREW": "he"}
SCRIPTS |= {"GREEK": "el", "DEVANAGARI": "hi", "BENGALI": "bn", "TAMIL": "ta", "THAI": "th", "GEORGIAN": "ka"}
WORDS = {
    "en": "the and is are of to in that it you for with this have not be was what my we he she they but do your hello",
    "de": "der die das und ist nicht ich sie ein eine zu mit auf den von wir es im auch für wie aber bin hallo guten",
    "fr": "le la les et est un une des je vous que pas pour dans qui ce il elle nous sur au avec bonjour être c'est",
    "es": "el la los y es un una de que no en por con para yo se lo como está pero muy hola qué las del",
    "it": "il la di che e è un una per non sono con del mi ma si come questo ciao gli della più lo",
    "pt": "o a os e é um uma de que não em por com para eu se como está mas olá do da você muito",
    "nl": "de het een en is niet ik je van dat op te met voor zijn maar wij ook hallo er aan heb",
    "pl": "i w nie to jest się na że do z jak co ja ale dla tak mam czy dzień po jestem",
    "sv": "och är att det en ett som på för inte jag du med av har vi den till hej kan",
    "tr": "ve bir bu da de ne için çok ben sen var mı değil ile ama merhaba gibi daha nasıl",
    "ru": "и в не на что я с он как это по но вы мы она так у за",
    "uk": "і в не на що я з він як це але ви ми вона так у за є та",
}
MARKS = {"ß": "de", "¿": "es", "ñ": "es", "ã": "pt", "õ": "pt", "ł": "pl", "ę": "pl", "ğ": "tr", "ı": "tr", "å": "sv"}
MARKS |= {"ï": "fr", "œ": "fr", "ы": "ru", "э": "ru", "ї": "uk", "є": "uk"}


def guess_language(text: str) -> str:
    """The language of a text as espeak-ng names it (en, de, cmn ...): by its letters, then by frequent words; else en.

    A small rule, made for whole sentences: two words may mislead it. Whoever knows the language says it.
    """
    letters = [unicodedata.name(letter, "").split(" ")[0].split("-")[0] for letter in text if letter.isalpha()]
    found = {SCRIPTS[name]: letters.count(name) for name in dict.fromkeys(letters) if name in SCRIPTS}
    if found and sum(found.values()) > len(letters) / 3:
        return "ja" if "ja" in found else max(found, key=found.get)
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", text.lower())
    scores = {language: sum(word in known.split() for word in words) for language, known in WORDS.items()}
    for mark, language in MARKS.items():
        scores[language] += mark in text.lower()
    best = max(scores, key=scores.get)
    if scores[best]:
        return best
    return "ru" if letters.count("CYRILLIC") > len(letters) / 2 else "en"


def sentences(text: str, longest: int = LONGEST) -> list[str]:
    """A text of any length -> pieces of at most `longest` characters, cut after sentences, else commas, else spaces."""
    pieces = []
    for sentence in re.split(r"(?<=[.!?…])[\"')\]»”]*\s+|(?<=[。!?])|\n+", text):
        rest = " ".join(sentence.split())
        while len(rest) > longest:
            part = rest[:longest]
            cut = max((part.rfind(mark) + 1 for mark in (", ", "; ", ": ", ",", "、")), default=0)
            cut = cut if cut > longest // 4 else part.rfind(" ")
            cut = cut if cut > 0 else longest
            pieces.append(rest[:cut].strip())
            rest = rest[cut:].strip()
        pieces += [rest] if any(letter.isalnum() for letter in rest) else []
    return pieces


@dataclass(frozen=True)
class Voice:
    """name: the code of its language, which --voice takes. about: the language in words."""

    name: str
    about: str


@cache
def voices() -> tuple[Voice, ...]:
    """What espeak-ng can speak, by language code; InputError where it is not installed."""
    found = []
    with _Espeak() as engine:
        listed = engine.library.espeak_ListVoices(None)
        while listed[len(found)]:
            one = listed[len(found)].contents
            found.append(Voice(one.languages[1:].decode(), one.name.decode("utf-8", "replace")))
    return tuple(sorted(set(found), key=lambda voice: voice.name))


def speak(
    text: str, output: Path, voice: str | None = None, progress: Callable[[str, int, int], None] | None = None
) -> dict:
    """A text as a WAV file, mono, 16 bit -> {"seconds", "voice", "sentences"}.

    voice: an espeak-ng language (en, en-us, de, cmn ...), a piper voice file (.onnx with its .json beside it), or None:
    the language is guessed. progress(stage, done, total) counts sentences; what it raises ends the work.
    """
    pieces = sentences(text)
    if not pieces:
        raise InputError(f"text is {text[:40]!r}; give at least one word to speak")
    if len(text) > MOST:
        raise InputError(f"text has {len(text):,} characters; allowed are {MOST:,}; speak it in parts")
    voice = voice or guess_language(text)
    spoken = []
    with _Piper(voice) if str(voice).endswith(".onnx") else _Espeak(voice) as engine:
        rate = engine.rate
        for done, piece in enumerate(pieces, 1):
            spoken += [engine.say(piece), np.zeros(int(PAUSE * rate), np.int16)]
            if progress:
                progress("voice", done, len(pieces))
    samples = np.concatenate(spoken[:-1])
    if not samples.any():
        raise InputError(f"voice {voice!r} has no sound for this text; name the language, e.g. --voice en")
    write_wav(output, samples, rate)
    return {"seconds": len(samples) / rate, "voice": str(voice), "sentences": len(pieces)}


def write_wav(path: Path, samples: np.ndarray, rate: int) -> None:
    """int16 [N] as a mono WAV."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


class _VoiceRecord(ctypes.Structure):
    """espeak_VOICE of speak_lib.h. languages: a priority byte, then the code."""

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


_HEAR = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class _Espeak:
    """Context manager: the library, freshly loaded. Kept, it would not say the same text in the same way twice: its
    flutter and its wave generator go on from where they were."""

    def __init__(self, voice: str = "en") -> None:
        try:
            import espeakng_loader
        except ImportError:
            raise InputError(
                'speaking a text needs espeak-ng; install the extra: pip install "anitalker[voice]"'
            ) from None
        self.voice, self.loader = voice, espeakng_loader
        self._heard: list[np.ndarray] = []
        self._hear = _HEAR(self._collect)

    def __enter__(self) -> _Espeak:
        _ONE_AT_A_TIME.acquire()
        try:
            self.library = library = ctypes.CDLL(self.loader.get_library_path())
            library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_VoiceRecord))
            synchronous, exit_not = 2, 0x8000  # AUDIO_OUTPUT_SYNCHRONOUS; do not end our process on an error
            self.rate = library.espeak_Initialize(synchronous, 0, self.loader.get_data_path().encode(), exit_not)
            if self.rate <= 0:
                raise RuntimeError("espeak-ng did not start")
            library.espeak_SetSynthCallback(self._hear)
            library.espeak_SetParameter(1, RATE, 0)  # espeakRATE
            known = re.fullmatch(r"[\w+-]{1,40}", self.voice)  # a name, never a path
            if not known or library.espeak_SetVoiceByName(self.voice.encode()) != 0:
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
            unload = getattr(_ctypes, "dlclose", None) or _ctypes.FreeLibrary
            unload(self.library._handle)
        finally:
            _ONE_AT_A_TIME.release()

    def _collect(self, samples, count: int, _events) -> int:
        if samples and count > 0:
            self._heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, text: str) -> np.ndarray:
        """int16 [N] at `rate`."""
        data = text.encode() + b"\0"
        self._heard.clear()
        self.library.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 1, 0, 1, None, None)  # 1: UTF-8
        self.library.espeak_Synchronize()
        return np.concatenate([*self._heard, np.zeros(0, np.int16)])


class _Piper:
    """Context manager like `_Espeak`, over a voice file."""

    def __init__(self, file: str) -> None:
        path = existing_file(file, "voice")
        existing_file(f"{file}.json", "voice's description")
        try:
            from piper import PiperVoice
        except ImportError:
            raise InputError(f"voice {path.name!r} needs piper; install it: pip install piper-tts") from None
        self.loaded = PiperVoice.load(str(path))
        self.rate = self.loaded.config.sample_rate

    def __enter__(self) -> _Piper:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, text: str) -> np.ndarray:
        """int16 [N] at `rate`."""
        return np.concatenate([chunk.audio_int16_array for chunk in self.loaded.synthesize(text)])
