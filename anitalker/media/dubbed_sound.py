"""The sound of a dubbed video: new speech, the original underneath it, or lines in the midst of the original.

ffmpeg mixes; memory does not grow with the length. Sample n of every sound is at n / RATE of the result.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from anitalker.config import InputError
from anitalker.media.clip import Clip
from anitalker.media.lines import Line
from anitalker.media.video import mix_audio

RATE = 48_000  # samples per second of the result
MAX_GAIN = 2.0  # of the original
MAX_MIXED = 16  # sounds that one ffmpeg mixes: it opens them all
STEP = 240  # samples (5 ms) at which the gain of the original changes
FADE_STEPS = 4  # from one gain to another: a sudden change clicks
CUT_SECONDS = 0.01  # in which a recording that is cut fades out


@dataclass(frozen=True)
class Placed:
    """A recording that begins at sample `start` of the result and lasts at most `seconds`."""

    file: Path
    start: int
    seconds: float


@contextlib.contextmanager
def dubbed_sound(
    clip: Clip,
    seconds: float,
    speech: str | os.PathLike | None = None,
    lines: Sequence[Line] = (),
    original: float = 0.0,
    fit: str = "trim",
) -> Iterator[Path]:
    """Give a FLAC file with the sound of a dubbed clip, in a temporary folder.

    seconds: length of the result; speech: a recording that begins with it, or lines: recordings by `read_lines`;
    original: the gain of the video's own sound under the speech, 0 to MAX_GAIN. Outside of lines it is heard as it is.
    It follows the playback that `fit` chooses (see `fit.playback`): at another speed by that tempo; where the video
    goes on forwards and backwards or holds, it ends. A video without sound is silent. Peaks of a mix are held below
    full scale; nothing else changes the loudness. InputError for another gain, or recordings that cannot be mixed.
    """
    if not 0 <= original <= MAX_GAIN:  # also refuses NaN
        raise InputError(f"original-sound is {original:g}; allowed is 0 to {MAX_GAIN:g}")
    placed = [Placed(line.speech, round(line.start * RATE), line.end - line.start) for line in lines]
    if speech is not None:
        placed.append(Placed(Path(speech), 0, seconds))
    with tempfile.TemporaryDirectory(prefix="anitalker-") as name:
        folder = Path(name)
        placed = _joined(sorted(placed, key=lambda sound: sound.start), folder)
        files, filters = [sound.file for sound in placed], [_placing(sound, 0) for sound in placed]
        if clip.media.audio_index is not None and (lines or original > 0):
            (folder / "gain.txt").write_text(_gain_commands(lines, original), "ascii")
            files.insert(0, clip.path)
            filters.insert(0, _original_filters(clip, seconds, fit, original if not lines else None))
        target = folder / "dubbed.flac"
        mix_audio(files, target, filters)
        yield target


def _joined(placed: list[Placed], folder: Path) -> list[Placed]:
    """Mix sounds that follow each other, MAX_MIXED at a time, until one ffmpeg can mix them all."""
    level = 0
    while len(placed) > MAX_MIXED:
        groups = [placed[n : n + MAX_MIXED] for n in range(0, len(placed), MAX_MIXED)]
        mixes = []
        for number, group in enumerate(groups):
            target, start = folder / f"mix-{level}-{number}.flac", group[0].start
            mix_audio([sound.file for sound in group], target, [_placing(sound, start) for sound in group])
            if level:
                for sound in group:
                    sound.file.unlink()
            end = max(sound.start / RATE + sound.seconds for sound in group)
            mixes.append(Placed(target, start, end - start / RATE))
        placed, level = mixes, level + 1
    return placed


def _placing(sound: Placed, base: int) -> str:
    """Return the filters that put a sound to its place in a mix that begins at sample `base` of the result."""
    end = max(sound.seconds - CUT_SECONDS, 0.0)
    cut = f"atrim=end={sound.seconds:.6f},afade=t=out:st={end:.6f}:d={CUT_SECONDS}"
    return f"aresample={RATE},{cut},adelay=delays={sound.start - base}S:all=1"


def _original_filters(clip: Clip, seconds: float, fit: str, gain: float | None) -> str:
    """Return the filters of the video's own sound; gain: None where the file gain.txt tells it."""
    length = clip.seconds if fit == "speed" else min(clip.seconds, seconds)
    steps = [f"aresample={RATE},atrim=start={clip.start:.6f}:end={clip.start + length:.6f},asetpts=PTS-STARTPTS"]
    if fit == "speed" and seconds != clip.seconds:
        steps.append(f"atempo={clip.seconds / seconds:.9f}")
    if gain is None:
        steps.append(f"asetnsamples=n={STEP}:p=0,asendcmd=f=gain.txt,volume=1")
    else:
        steps.append(f"volume={gain:.6f}")
    return ",".join(steps)


def _gain_commands(lines: Sequence[Line], gain: float) -> str:
    """Return the commands that lower the original to `gain` where lines are spoken, as the filter `asendcmd` reads."""
    spans: list[list[float]] = []
    for line in sorted(lines, key=lambda line: line.start):
        if spans and line.start - spans[-1][1] <= 2 * FADE_STEPS * STEP / RATE:
            spans[-1][1] = max(spans[-1][1], line.end)
        else:
            spans.append([line.start, line.end])
    commands = []
    fade = FADE_STEPS * STEP / RATE
    for start, end in spans:
        for step in range(1, FADE_STEPS + 1):
            commands.append((start - fade + (step - 1) * STEP / RATE, 1 + (gain - 1) * step / FADE_STEPS))
        for step in range(1, FADE_STEPS + 1):
            commands.append((end + (step - 1) * STEP / RATE, gain + (1 - gain) * step / FADE_STEPS))
    last_before_zero = [level for time, level in commands if time <= 0][-1:]
    commands = [(0.0, level) for level in last_before_zero] + [command for command in commands if command[0] > 0]
    until = [time for time, _ in commands[1:]] + [1e9] if commands else []
    return "".join(
        f"{time:.4f}-{end:.4f} [enter] volume volume {level:.6f};\n"
        for (time, level), end in zip(commands, until, strict=True)
    )
