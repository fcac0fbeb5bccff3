"""Several faces of one picture, each with speech of its own: `--speech-for INDEX=FILE`.

Whoever has no own speech speaks the common one; who has finished is silent until the longest is over.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from anitalker.config import InputError

MOST = 16  # voices at once: as many decoders run while the sound is mixed


def parse(given: Sequence[str]) -> dict[int, str]:
    """`INDEX=FILE` of the command line -> {index: file}; InputError for anything else."""
    voices: dict[int, str] = {}
    for one in given:
        index, equals, file = one.partition("=")
        if not equals or not file or not index.isascii() or not index.isdigit():
            raise InputError(f"speech-for is {one!r}; allowed is INDEX=FILE, with an index from `anitalker faces`")
        if int(index) in voices:
            raise InputError(f"speech-for names face {int(index)} twice; give each face one recording")
        voices[int(index)] = file
    if len(voices) > MOST:
        raise InputError(f"speech-for came {len(voices)} times; at most {MOST} faces can have speech of their own")
    return voices


def same_length(sounds: Mapping[int | None, np.ndarray]) -> dict[int | None, np.ndarray]:
    """Every sound, float32 [N_i], with silence up to the longest."""
    longest = max(map(len, sounds.values()))
    return {key: np.pad(one, (0, longest - len(one))) if len(one) < longest else one for key, one in sounds.items()}


@contextlib.contextmanager
def mixed(common: str | os.PathLike | None, own: Mapping[int, str | os.PathLike]) -> Iterator[str | os.PathLike | None]:
    """The file with the sound of the video: the common one, or a mix of all in a temporary folder.

    common: None where nobody speaks it.
    """
    files = [*([common] if common is not None else []), *own.values()]
    if len(files) == 1:
        yield files[0]
        return
    from anitalker import video

    with tempfile.TemporaryDirectory(prefix="anitalker-") as folder:
        target = Path(folder) / "mixed.flac"
        video.mix(files, target)
        yield target
