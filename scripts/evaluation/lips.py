"""Lips against the speaker's own: correlation, lag, spread and closures, beside baselines that know less.

Curves are lip openings over face height, [T] at 25 frames per second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from scripts.evaluation import events
from scripts.evaluation.metrics import MAX_LAG, bootstrap, interval, lagged, mean, pearson, with_interval


@dataclass(frozen=True)
class LipCurves:
    """Curves of one clip. samples and scorer may hold every stride-th frame only.

    truth: the labels; samples: the model's, one per single sample; scorer: the face network on the true frames;
    loudness: of the speech; every_frame: the first sample at every frame, empty where it was not rendered.
    """

    person: str
    truth: np.ndarray
    samples: list[np.ndarray]
    scorer: np.ndarray
    loudness: np.ndarray
    every_frame: np.ndarray


Clips = Sequence[LipCurves]


def lip_report(clips: Clips, stride: int) -> dict:
    """The lips' share of the report (docs/evaluation.md); correlations are Pearson at zero lag."""
    curves = np.array([
        np.mean([lagged(s, np.arange(len(s)) * stride, clip.truth) for s in clip.samples], 0) for clip in clips
    ])  # fmt: skip
    at_zero, mean_curve = curves[:, MAX_LAG], curves.mean(0)
    best = int(mean_curve.argmax())
    loud = np.array([pearson(clip.loudness, clip.truth) for clip in clips])
    scorer = [pearson(c.scorer, c.truth if len(c.scorer) == len(c.truth) else c.truth[::stride]) for c in clips]
    shuffled = [value for clip in clips if (value := shuffled_correlation(clip, clips, stride)) is not None]

    def spread(chosen: Clips) -> float:
        generated = np.mean([np.mean([sample.std() for sample in clip.samples]) for clip in chosen])
        return float(generated / max(np.mean([clip.truth[::stride].std() for clip in chosen]), 1e-9))

    report = {
        "lip_correlation": mean(at_zero),
        "lip_lag_frames": best - MAX_LAG,
        "loudness_baseline": mean(loud),
        "shuffled": mean(shuffled) if shuffled else 0.0,
        **with_interval("spread_ratio", clips, spread),
        "correlation_at_best_lag": float(mean_curve[best]),
        "scorer_lip_correlation": mean(scorer),
        "per_clip": at_zero.tolist(),
        "interval": interval(at_zero),
        "above_loudness": mean(at_zero - loud),
        "above_loudness_interval": interval(at_zero - loud),
        "shuffled_interval": interval(shuffled) if shuffled else None,
        "clips": len(clips),
    }
    if complete(clips, [clip.every_frame for clip in clips]):
        lips = [clip.every_frame for clip in clips]
        report["closures"] = closures(clips, lips) | {"stretches": closures(clips, lips, events.closed_stretches)}
    return report | {"table": table(clips)}


def complete(clips: Clips, curves: list[np.ndarray]) -> bool:
    """Whether the curves have every frame of their clips."""
    return all(len(curve) == len(clip.truth) for curve, clip in zip(curves, clips, strict=True))


def others(clip: LipCurves, clips: Clips) -> list[LipCurves]:
    """Clips of other people, those that come after this one first."""
    at = next(i for i, other in enumerate(clips) if other is clip)
    return [other for other in (*clips[at + 1 :], *clips[:at]) if other.person != clip.person]


def shuffled_correlation(clip: LipCurves, clips: Clips, stride: int) -> float | None:
    """The clip's lips against the truth of every clip of another person, cut to the shorter; None without others."""
    values = []
    for other in others(clip, clips):
        truth = other.truth[::stride]
        values += [pearson(sample[: len(truth)], truth[: len(sample)]) for sample in clip.samples]
    return mean(values) if values else None


def closures(clips: Clips, curves: list[np.ndarray], find: Callable = events.closures) -> dict:
    """Closures of curves [T], one per clip, against the true ones: F1, its interval, precision and recall."""
    pairs = [(find(curve), find(clip.truth)) for curve, clip in zip(curves, clips, strict=True)]
    counts = [(events.matches(generated, true), len(generated), len(true)) for generated, true in pairs]
    matched, generated, true = np.sum(counts, 0)
    return {
        "f1": events.f1(counts),
        "interval": bootstrap(counts, events.f1),
        "precision": float(matched / max(generated, 1)),
        "recall": float(matched / max(true, 1)),
        "true": int(true),
    }


def table(clips: Clips) -> dict:
    """Every system that has all frames: correlation at zero lag and F1 of the closures, each with its interval."""
    rng = np.random.default_rng(0)
    systems = {
        "copy": [np.full(len(clip.truth), clip.truth[0]) for clip in clips],
        "mean_motion": [mean_of_others(clip, clips) for clip in clips],
        "loudness": [clip.loudness for clip in clips],
        # Lips that move without rest and meaning: white noise, smoothed by one frame.
        "trembling": [gaussian_filter1d(rng.normal(size=len(c.truth) + 8), 1.0, radius=4)[4:-4] for c in clips],
        "scorer_on_true_frames": [clip.scorer for clip in clips],
        "made": [clip.every_frame for clip in clips],
        "shuffled": [lips_of_another(clip, clips) for clip in clips],
    }
    rows = {}
    for name, curves in systems.items():
        if complete(clips, curves):
            values = [pearson(curve, clip.truth) for curve, clip in zip(curves, clips, strict=True)]
            events_of = closures(clips, curves)
            rows[name] = {
                "lip_correlation": mean(values),
                "interval": interval(values),
                "closure_f1": events_of["f1"],
                "closure_f1_interval": events_of["interval"],
                "stretch_f1": closures(clips, curves, events.closed_stretches)["f1"],
            }
    return rows


def mean_of_others(clip: LipCurves, clips: Clips) -> np.ndarray:
    """At each frame the mean of the true openings of other people's clips that are that long."""
    curves = [other.truth for other in others(clip, clips)]
    return np.array([np.mean([c[t] for c in curves if t < len(c)] or [0.0]) for t in range(len(clip.truth))])


def lips_of_another(clip: LipCurves, clips: Clips) -> np.ndarray:
    """The model's lips for the next clip of another person, cut or held to the length; empty without every frame."""
    curve = (others(clip, clips) or [clip])[0].every_frame[: len(clip.truth)]
    return np.pad(curve, (0, len(clip.truth) - len(curve)), mode="edge") if len(curve) else curve
