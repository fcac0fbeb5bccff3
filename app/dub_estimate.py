"""How long a dub will take here: a short piece of its video is dubbed and timed."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anitalker.config import FPS, SAMPLE_RATE, DubOptions, RenderOptions
from anitalker.media.clip import Clip, open_clip
from anitalker.media.fit import playback
from anitalker.media.text_to_speech import write_wav
from anitalker.media.video import read_audio

if TYPE_CHECKING:
    from anitalker.pipeline import Talker

TRIAL_SECONDS = 0.4  # of the video that are dubbed
TRIAL_SPEECH = Path(__file__).parent / "examples" / "speech.flac"  # from its first second on
INT16_MAX = 32767
STAGES = ("faces", "frames")  # of a dub, whose time goes with the number of frames


@dataclass(frozen=True)
class DubPace:
    """Seconds by the clock that a dub of `clip` takes: for each frame that is looked at, for each that is drawn, and
    beside them."""

    clip: Clip
    look: float
    draw: float
    rest: float

    def seconds(self, speech_seconds: float, dubbing: DubOptions) -> float:
        """Estimate the seconds of work with a speech of so many seconds. InputError where it does not fit."""
        shown = playback(dubbing.fit, self.clip.frames, self.clip.fps, speech_seconds)
        looked_at = int(shown.max()) + 1
        if dubbing.follow != "speech":  # the face that speaks is followed, too
            looked_at += math.ceil(speech_seconds * FPS)
        return self.rest + looked_at * self.look + len(shown) * self.draw


def measure_pace(talker: Talker, video: Path, options: RenderOptions, dubbing: DubOptions) -> DubPace:
    """Dub the first TRIAL_SECONDS of what is to be dubbed of a video. InputError where that is not possible."""
    clip = open_clip(video, dubbing.start, dubbing.stop, options.size)
    stop = dubbing.start + min(TRIAL_SECONDS, clip.seconds)
    calls: dict[str, list[tuple[float, int]]] = {stage: [] for stage in STAGES}

    def note(stage: str, done: int, total: int) -> None:
        if stage in calls:
            calls[stage].append((time.monotonic(), done))

    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="anitalker-") as folder:
        speech = Path(folder) / "speech.wav"
        samples = read_audio(TRIAL_SPEECH)[SAMPLE_RATE:][: round((stop - dubbing.start) * SAMPLE_RATE)]
        write_wav(speech, (samples * INT16_MAX).astype(np.int16), SAMPLE_RATE)
        piece = DubOptions(start=dubbing.start, stop=stop)
        facts = talker.dub(video, speech, Path(folder) / "trial.mp4", options, piece, note)
    look, draw = (_pace(calls[stage]) for stage in STAGES)
    rest = time.monotonic() - start - facts["frames"] * (look + draw)
    return DubPace(clip, look, draw, max(rest, 0.0))


def _pace(calls: list[tuple[float, int]]) -> float:
    """Seconds per frame between the first and the last call of (time, frames done)."""
    if len(calls) < 2:
        return 0.0
    (start, first), (end, last) = calls[0], calls[-1]
    return (end - start) / max(last - first, 1)
