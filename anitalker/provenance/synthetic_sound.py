"""Which sound gets the inaudible mark, and how it gets there.

Marked are voices that are known to be synthetic, and the new sound of a dubbed video, whoever spoke: it replaces what
was said (EU AI Act, Article 50: generated or manipulated; California, 22757.3: created or altered). A recording to
which a portrait speaks stays as it was recorded: nothing generated or altered it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from anitalker.config import InputError
from anitalker.media.filtered_sound import RATE, filter_sound
from anitalker.media.video import is_synthetic_comment, probe
from anitalker.provenance import audio_mark
from anitalker.provenance.credentials import read_credentials
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
