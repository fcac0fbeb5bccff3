"""Which sound gets the inaudible mark, and how it gets there.

Marked are voices that are known to be synthetic, and the new sound of a dubbed video, whoever spoke: it replaces what
was said (EU AI Act, Article 50: generated or manipulated; California, 22757.3: created or altered). A recording to
which a portrait speaks stays as it was recorded: nothing generated or altered it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import wave
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from anitalker.config import InputError
from anitalker.media.filtered_sound import RATE, filter_sound
from anitalker.media.text_to_speech import write_wav
from anitalker.media.video import SYNTHETIC_COMMENT, is_synthetic_comment, probe
from anitalker.provenance import audio_mark
from anitalker.provenance.credentials import read_credentials
from anitalker.provenance.payload import new_identifier
from anitalker.provenance.source_types import CREATED


def has_synthetic_voice(files: Iterable[str | os.PathLike]) -> bool:
    """Whether any of some files is sound that says of itself that it is synthetic: by its comment or its credentials.

    Videos do not count: what they say may be true of their pictures only. If their sound is marked, the mark stays.
    """
    return any(_is_synthetic_voice(Path(file)) for file in files)


def _is_synthetic_voice(file: Path) -> bool:
    try:
        media = probe(file, "speech")
    except InputError:  # a person file
        return False
    if media.video_codec or not media.audio_codec:
        return False
    return is_synthetic_comment(media.comment) or read_credentials(file).source_type == CREATED


@contextlib.contextmanager
def marked_sound(sound: str | os.PathLike, identifier: str) -> Iterator[Path]:
    """Give a FLAC file, in a temporary folder, with the sound of a file and the mark."""
    with tempfile.TemporaryDirectory(prefix="anitalker-") as folder:
        target = Path(folder) / "marked.flac"
        filter_sound(sound, target, lambda pieces: audio_mark.mark(pieces, RATE, identifier))
        yield target


def mark_speech_file(file: Path) -> None:
    """Mark a WAV file of `text_to_speech.speak`, in its place, with an identifier of its own."""
    with wave.open(str(file)) as stream:
        rate, data = stream.getframerate(), stream.readframes(stream.getnframes())
    sound = np.frombuffer(data, "<i2").astype(np.float32)[:, None]
    marked = np.concatenate(list(audio_mark.mark([sound], rate, new_identifier())))[:, 0]
    write_wav(file, np.rint(marked).clip(-32768, 32767), rate, SYNTHETIC_COMMENT)
