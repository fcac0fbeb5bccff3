"""Speech-driven portraits: lips against the speaker's own, against loudness and strangers; lips at rest in silence."""

from __future__ import annotations

import numpy as np

from anitalker.config import FPS, SAMPLE_RATE
from anitalker.landmarks import lip_opening
from scripts.evaluation.metrics import MAX_LAG, interval, lagged, loudness, pearson
from scripts.evaluation.subject import EvalClip, Source, Subject

SILENCE = 3  # seconds
OPEN_MOUTH = 0.05  # lip opening over face height from which a still counts as clearly open
CLOSED = 0.025  # closed to the eye


def lips_of(subject: Subject, source: Source, motion: np.ndarray) -> np.ndarray:
    """Lip opening [T] on the rendered frames, as the shipped face network sees it."""
    return lip_opening(subject.landmarks(subject.render(source, motion)))


def is_spoken(row: dict) -> bool:
    """A real person whose speech is heard and whose mouth is seen: what the audio-driven score is made of."""
    return row["speaking_visible"] == "yes" and row["generated"] == "no" and row["has_audio"] == "yes"


class AudioDriven:
    """The first frame of a clip speaks the clip's sound, `samples` single samples; lip opening against the labels.

    With a stride only every stride-th frame is rendered and compared; the truth is known for every frame, so lags are
    still whole frames.
    """

    def __init__(self, subject: Subject, samples: int = 5, stride: int = 2) -> None:
        self.subject, self.samples, self.stride = subject, samples, stride
        self.truth: list[np.ndarray] = []  # per clip [T]
        self.made: list[list[np.ndarray]] = []  # per clip and sample, at frames 0, stride, ...
        self.loud: list[np.ndarray] = []
        self.silent: list[np.ndarray] = []
        self.people: list[str] = []
        self.scorer: list[float] = []  # the face network's lips on the true frames against the labels

    def add(self, clip: EvalClip, codes: np.ndarray) -> None:
        """Render one clip; codes [T,20] are those of its frames, of which the first is used."""
        subject = self.subject
        source = Source(clip.frames[0], subject.landmarks(clip.frames[:1])[0], codes[0])
        self.truth.append(lip_opening(clip.landmarks))
        made = []
        for seed in range(self.samples):
            motion = subject.speak(source, clip.speech, seed)[: len(clip.landmarks)]
            made.append(lips_of(subject, source, motion[:: self.stride]))
        self.made.append(made)
        self.loud.append(loudness(clip.speech, len(clip.landmarks), SAMPLE_RATE, FPS))
        motion = subject.speak(source, np.zeros(SILENCE * SAMPLE_RATE, np.float32), 0)
        self.silent.append(lips_of(subject, source, motion[:: self.stride]))
        self.people.append(clip.row["identity"])
        seen = lip_opening(subject.landmarks(clip.frames[:: self.stride]))
        self.scorer.append(pearson(seen, self.truth[-1][:: self.stride]))

    def result(self) -> dict:
        """The contract's keys first; correlations are Pearson at zero lag, mean over samples, then over clips."""
        pairs = list(zip(self.made, self.truth, strict=True))
        curves = np.array([np.mean([self._lags(one, truth) for one in made], 0) for made, truth in pairs])
        at_zero, mean_curve = curves[:, MAX_LAG], curves.mean(0)
        best = int(mean_curve.argmax())
        spoken = [np.mean([m.std() for m in made]) for made in self.made]
        true = [t[:: self.stride].std() for t in self.truth]
        settled = [s[-(-FPS // self.stride) :] for s in self.silent]
        return {
            "lip_correlation": float(at_zero.mean()),
            "lip_lag_frames": best - MAX_LAG,
            "loudness_baseline": float(np.mean([pearson(a, b) for a, b in zip(self.loud, self.truth, strict=True)])),
            "shuffled": self._shuffled(),
            "silence_ratio": float(np.mean([s.std() for s in settled]) / max(np.mean(spoken), 1e-9)),
            "silence_ratio_with_closing": float(np.mean([s.std() for s in self.silent]) / max(np.mean(spoken), 1e-9)),
            "spread_ratio": float(np.mean(spoken) / max(np.mean(true), 1e-9)),
            "correlation_at_best_lag": float(mean_curve[best]),
            "scorer_lip_correlation": float(np.mean(self.scorer)),
            "per_clip": [float(x) for x in at_zero],
            "interval": interval(at_zero),
            "clips": len(self.truth),
            "samples": self.samples,
        }

    def _lags(self, made: np.ndarray, truth: np.ndarray) -> np.ndarray:
        return lagged(made, np.arange(len(made)) * self.stride, truth)

    def _shuffled(self) -> float:
        """Lips made for one clip against the truth of every clip of another person, cut to the shorter."""
        values = []
        for i, made in enumerate(self.made):
            for j, truth in enumerate(self.truth):
                if self.people[i] == self.people[j]:
                    continue
                other = truth[:: self.stride]
                values += [pearson(m[: len(other)], other[: len(m)]) for m in made]
        return float(np.mean(values)) if values else 0.0


class OpenMouthStills:
    """Portraits with an open mouth and silence: the lips must come together, and stay."""

    def __init__(self, subject: Subject, stride: int = 2) -> None:
        self.subject, self.stride = subject, stride
        self.before: list[float] = []
        self.curves: list[np.ndarray] = []
        self.last: np.ndarray | None = None  # rendered frame at the end, for contact sheets

    def add(self, image: np.ndarray, label: np.ndarray) -> None:
        """One still, uint8 [256,256,3], with its labelled landmarks [468,3]."""
        subject = self.subject
        source = Source(image, subject.landmarks(image[None])[0], subject.codes(image[None])[0])
        motion = subject.speak(source, np.zeros(SILENCE * SAMPLE_RATE, np.float32), 0)
        frames = subject.render(source, motion[FPS :: 2 * self.stride])
        self.before.append(float(lip_opening(label)))
        self.curves.append(lip_opening(subject.landmarks(frames)))
        self.last = frames[-1]

    def result(self) -> dict:
        """Openings over face height: labelled before; per still the mean from 1 s to 3 s, of which mean and worst."""
        after = np.array([curve.mean() for curve in self.curves])
        return {
            "stills": len(after),
            "opening_before": float(np.mean(self.before)),
            "smallest_before": float(np.min(self.before)),
            "opening_after_1s": float(after.mean()),
            "worst_after_1s": float(after.max()),
            "share_closed": float((after <= CLOSED).mean()),
        }


def widest(stills: list[tuple[np.ndarray, np.ndarray]], count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The `count` stills (image, landmarks [468,3]) whose labelled lips are widest open."""
    return sorted(stills, key=lambda still: -float(lip_opening(still[1])))[:count]
