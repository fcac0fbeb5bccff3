"""Scores of the motion generator on clips, from codes alone; and how late the clips' sound is, judged by it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from anitalker.config import POSE_SIZE
from anitalker.faces.landmarks import lip_opening
from anitalker.motion.generator import MotionGenerator
from anitalker.motion.windows import SamplingParams, generate_motion
from encoders.audio import SAMPLE_RATE, normalise_level
from encoders.speech import SpeechFeatures
from scripts.training.motion_data import MotionClip
from scripts.training.motion_statistics import Space

ONE_STEP = SamplingParams(steps=1, guidance=1.0, temperature=0.0)


def openings(clip: MotionClip, codes: Tensor, space: Space) -> np.ndarray:
    """Lip opening of codes [T,20] on this clip's own neutral face."""
    return lip_opening(clip.neutral + np.einsum("tk,knc->tnc", codes[:, POSE_SIZE:].numpy(), space.directions))


class Speaker:
    """A generator that speaks clips: lip openings [T] on a clip's face under speech features [1,T,S]."""

    def __init__(self, network: MotionGenerator, features: SpeechFeatures, space: Space) -> None:
        self.network, self.features, self.space = network.eval(), features, space

    def hear(self, sound: np.ndarray) -> Tensor:
        """float32 [N] at 16 kHz -> features [1,T,S]."""
        return self.features(normalise_level(torch.from_numpy(sound)))[None]

    @torch.no_grad()
    def __call__(self, clip: MotionClip, speech: Tensor, seed: int, wishes: SamplingParams) -> np.ndarray:
        start, generator = torch.from_numpy(clip.codes[:1]), torch.Generator().manual_seed(seed)
        return openings(clip, generate_motion(self.network, speech, start, generator, wishes), self.space)


def validate(speaker: Speaker, clips: list[MotionClip], wishes: SamplingParams, samples: int = 2) -> dict[str, float]:
    """Scores of single samples on clips of real people who speak in the picture.

    correlation, of the lip opening at zero lag; spread, its deviation over the true one's; shuffled, the correlation
    with somebody else's clip; silence, its deviation in digital silence after a second, over that in speech.
    """
    scores: dict[str, list[float]] = {"correlation": [], "spread": [], "shuffled": [], "silence": []}
    visible = [clip for clip in clips if clip.speaks and clip.row["generated"] == "no"]
    quiet = speaker.features(torch.zeros(3 * SAMPLE_RATE))[None]
    for number, clip in enumerate(visible):
        speech, other = speaker.hear(clip.sound), visible[(number + 1) % len(visible)]
        for seed in range(samples):
            lips, rest = speaker(clip, speech, seed, wishes), speaker(clip, quiet, seed, wishes)
            n = min(len(lips), len(other.lips))
            scores["correlation"].append(pearson(lips, clip.lips))
            scores["spread"].append(lips.std() / clip.lips.std())
            scores["shuffled"].append(pearson(lips[:n], other.lips[:n]))
            scores["silence"].append(rest[25:].std() / lips.std())
    return {name: float(np.mean(values)) for name, values in scores.items()}


def measure_sync(speaker: Speaker, clips: list[MotionClip]) -> dict[str, tuple[float, float]]:
    """How late each clip's sound is, judged by a network that learned from all of them: id -> (frames, correlation).

    Lips of the network's single-step estimate against the labels' at lags of up to 7 frames; the peak by a parabola.
    """
    delays = {}
    for clip in (clip for clip in clips if clip.speaks):
        lips, n = speaker(clip, speaker.hear(clip.sound), 0, ONE_STEP), len(clip.lips)
        curve = [pearson(lips[max(0, k) : n + min(0, k)], clip.lips[max(0, -k) : n - max(0, k)]) for k in range(-8, 9)]
        best = 1 + int(np.argmax(curve[1:-1]))
        low, top, high = curve[best - 1 : best + 2]
        fraction = 0.5 * (low - high) / min(low - 2 * top + high, -1e-6)
        delays[clip.row["id"]] = (round(best - 8 + float(np.clip(fraction, -0.5, 0.5)), 2), round(top, 3))
    return delays


def apply_sync(delays: dict, clips: list[MotionClip]) -> None:
    """Shift the sound of clips that are clearly late or early; sound that fits nowhere teaches no speech."""
    for clip in clips:
        late, correlation = delays.get(clip.row["id"], (0.0, 1.0))
        clip.unrelated = clip.speaks and correlation < 0.2
        if correlation > 0.35 and 0.6 <= abs(late) <= 6:
            clip.shift(late)


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation; 0 where one does not vary."""
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 1e-6 and b.std() > 1e-6 else 0.0
