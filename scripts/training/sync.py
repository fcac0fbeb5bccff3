"""How late a clip's sound is, judged by a network that learned from all clips; what is late is shifted back."""

from __future__ import annotations

import numpy as np

from scripts.evaluation.metrics import pearson
from scripts.training.motion_data import MotionClip

LONGEST = 7  # frames of delay that are looked for
UNRELATED = 0.2  # correlation under which the sound says nothing about the lips


def delay(lips: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Openings that a network hears in the sound, and those of the labels -> frames by which the sound is late, and the
    correlation there. The peak of the curve over lags by a parabola.
    """
    count = min(len(lips), len(truth))
    lags = range(-LONGEST - 1, LONGEST + 2)
    curve = [pearson(lips[max(0, k) : count + min(0, k)], truth[max(0, -k) : count - max(0, k)]) for k in lags]
    best = 1 + int(np.argmax(curve[1:-1]))
    low, top, high = curve[best - 1 : best + 2]
    fraction = 0.5 * (low - high) / min(low - 2 * top + high, -1e-6)
    return round(best - LONGEST - 1 + float(np.clip(fraction, -0.5, 0.5)), 2), round(top, 3)


def shift_late_sound(
    delays: dict[str, tuple[float, float]], clips: list[MotionClip], least: float = 0.6, most: float = 6.0
) -> None:
    """Shift the sound of clips that are surely late or early by `least` to `most` frames, in place.

    delays: (frames, correlation) by the clips' ids. Sound that fits nowhere teaches no speech.
    """
    for clip in clips:
        late, correlation = delays.get(clip.row["id"], (0.0, 1.0))
        clip.unrelated = clip.speaks and correlation < UNRELATED
        if correlation > 0.35 and least <= abs(late) <= most:
            clip.shift(late)
