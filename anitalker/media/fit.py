"""Which frame of a video is shown when, where the video and the speech differ in length (`--fit`)."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from anitalker.config import InputError

FITS = ("trim", "loop", "hold", "speed")
MIN_SPEED, MAX_SPEED = 0.5, 2.0  # of a video that is played to the speech's length


def playback(fit: str, frames: int, fps: Fraction, speech_seconds: float) -> np.ndarray:
    """Return the number of the frame, int64 [T], that is shown at n / fps, for n = 0 to T - 1.

    frames: of the video. fit: trim, the shorter of video and speech decides on T; loop, the longer one: a short video
    plays forwards and backwards; hold, the longer one: the last frame stays; speed, the speech: the video plays faster
    or slower. InputError where that is not MIN_SPEED to MAX_SPEED times as fast, or for another fit.
    """
    spoken = _spoken_frames(fps, speech_seconds)
    if fit == "trim":
        return np.arange(min(frames, spoken))
    if fit == "loop":
        there_and_back = np.concatenate([np.arange(frames), np.arange(frames - 2, 0, -1)])
        return np.resize(there_and_back, max(frames, spoken))
    if fit == "hold":
        return np.minimum(np.arange(max(frames, spoken)), frames - 1)
    if fit != "speed":
        raise InputError(f"fit is {fit!r}; allowed are {', '.join(FITS)}")
    speed = frames / spoken
    if not MIN_SPEED <= speed <= MAX_SPEED:
        raise InputError(
            f"fit speed would play the video {speed:.2f} times as fast; allowed are {MIN_SPEED:g} to {MAX_SPEED:g} "
            "times; take --fit trim, loop or hold"
        )
    return (2 * np.arange(spoken) + 1) * frames // (2 * spoken)  # of the middle of each frame


def playback_note(fit: str, frames: int, fps: Fraction, speech_seconds: float) -> str | None:
    """Say what happens to a video and a speech of different lengths, in a sentence; None if they agree within a frame.

    The arguments are those of `playback`.
    """
    spoken = _spoken_frames(fps, speech_seconds)
    if abs(frames - spoken) <= 1:
        return None
    video = float(frames / fps)
    lengths = f"the video has {video:.1f} s, the speech {speech_seconds:.1f} s"
    if fit == "speed":
        return f"{lengths}: the video plays {frames / spoken:.2f} times as fast"
    if fit == "trim":
        if frames > spoken:
            return f"{lengths}: the rest of the video is cut off; --fit loop or hold keeps it"
        return f"{lengths}: the rest of the speech is cut off; --fit loop, hold or speed keeps it"
    if frames > spoken:
        return f"{lengths}: it is silent at the end"
    return f"{lengths}: the video {'plays forwards and backwards' if fit == 'loop' else 'holds its last frame'}"


def _spoken_frames(fps: Fraction, seconds: float) -> int:
    """Return the number of frames that last as long as a speech, at least 1."""
    return max(1, math.ceil(seconds * fps - 1e-6))
