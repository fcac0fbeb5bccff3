"""The speech of a video: a common recording, and recordings of single faces (`--speech-for INDEX=FILE`).

A face without a recording of its own speaks the common one. Shorter recordings are padded with silence.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anitalker.config import SAMPLE_RATE, InputError
from anitalker.files import existing_file
from anitalker.media.audio_checks import audio_warnings
from anitalker.media.video import mix_audio, probe_pictures, read_audio

MAX_RECORDINGS = 16  # of single faces: as many decoders run while the sound is mixed
Source = str | os.PathLike | np.ndarray  # a file, or samples float32 [N] at 16 kHz


@dataclass(frozen=True)
class Soundtrack:
    """Recordings by face index; None stands for all other faces.

    samples: float32 [N] at 16 kHz each; files: paths of the recordings that were read from files; mute: those that are
    videos without sound, whose samples are 0.
    """

    samples: Mapping[int | None, np.ndarray]
    files: Mapping[int | None, str | os.PathLike]
    mute: frozenset[int | None] = frozenset()

    @classmethod
    def read(cls, speech: Source, speech_for: Mapping[int, Source] | None = None, videos: bool = False) -> Soundtrack:
        """Read the common recording and those of single faces; InputError names a recording that cannot be read.

        videos: they are videos with a face, which need no sound.
        """
        samples: dict[int | None, np.ndarray] = {}
        files: dict[int | None, str | os.PathLike] = {}
        mute: set[int | None] = set()
        sources: dict[int | None, Source] = {None: speech}
        for face, source in (speech_for or {}).items():
            sources[face] = source
        for face, source in sources.items():
            if isinstance(source, np.ndarray):
                samples[face] = source
            elif (
                videos
                and (media := probe_pictures(existing_file(source, _name(face)), _name(face))).audio_codec is None
            ):
                samples[face] = np.zeros(round((media.seconds or 0) * SAMPLE_RATE), np.float32)
                files[face] = source
                mute.add(face)
            else:
                samples[face], files[face] = read_audio(source, what=_name(face)), source
        return cls(samples, files, frozenset(mute))

    @property
    def length(self) -> int:
        """Number of samples of the longest recording."""
        return max(map(len, self.samples.values()))

    def warnings(self) -> list[str]:
        """Return what may spoil the result, a sentence each, with the name of the recording."""
        heard = [(face, samples) for face, samples in self.samples.items() if face not in self.mute]
        return [f"{_name(face)}: {text}" for face, samples in heard for text in audio_warnings(samples)]

    def spoken_by(self, faces: Collection[int]) -> Soundtrack:
        """Drop the common recording if each of these faces has its own, so that nobody speaks it."""
        if len(self.samples) == 1 or not set(faces) <= set(self.samples):
            return self
        return Soundtrack(
            {face: samples for face, samples in self.samples.items() if face is not None},
            {face: file for face, file in self.files.items() if face is not None},
        )

    def recording_of(self, face: int | None) -> int | None:
        """Return the key of the recording that a face speaks: the face itself, or None for the common one."""
        return face if face in self.samples else None

    def padded(self, recording: int | None) -> np.ndarray:
        """Return a recording, float32 [length], padded with silence."""
        samples = self.samples[recording]
        return np.pad(samples, (0, self.length - len(samples))) if len(samples) < self.length else samples

    @contextlib.contextmanager
    def file(self) -> Iterator[str | os.PathLike]:
        """Give a file with the sound of the video: the only recording, or a mix of all in a temporary folder.

        At least one has sound.
        """
        files = [file for face, file in self.files.items() if face not in self.mute]
        if len(files) == 1:
            yield files[0]
            return
        with tempfile.TemporaryDirectory(prefix="anitalker-") as folder:
            target = Path(folder) / "mixed.flac"
            mix_audio(files, target)
            yield target


def _name(face: int | None) -> str:
    return "speech" if face is None else f"speech-for {face}"


def parse_speech_for(arguments: Sequence[str]) -> dict[int, str]:
    """Parse the `INDEX=FILE` of the command line as {index: file}; InputError for anything else."""
    files: dict[int, str] = {}
    for argument in arguments:
        index, equals, file = argument.partition("=")
        if not equals or not file or not index.isascii() or not index.isdigit():
            raise InputError(f"speech-for is {argument!r}; allowed is INDEX=FILE, with an index from `anitalker faces`")
        if int(index) in files:
            raise InputError(f"speech-for names face {int(index)} twice; give each face one recording")
        files[int(index)] = file
    if len(files) > MAX_RECORDINGS:
        raise InputError(
            f"speech-for came {len(files)} times; at most {MAX_RECORDINGS} faces can have speech of their own"
        )
    return files
