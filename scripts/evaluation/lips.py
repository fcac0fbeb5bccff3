"""Lips against the speaker's own: correlation, lag, spread and closures, beside baselines that know less.

Curves are lip openings over face height, [T] at 25 frames per second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import find_objects, gaussian_filter1d, label

from scripts.evaluation.metrics import MAX_LAG, bootstrap, interval, lagged, mean, pearson, with_interval

CLOSED_SHARE = 0.15  # of a clip's range: lips under it are closed
LEAST_RANGE = 1e-4  # range under which a curve does not move
TOLERANCE = 2  # frames


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
    lips = [clip.every_frame for clip in clips]
    if complete(clips, lips):
        report["closures"] = closure_scores(clips, lips)
        report["closures"]["stretches"] = closure_scores(clips, lips, closed_stretches)
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
            scores = closure_scores(clips, curves)
            rows[name] = {"lip_correlation": mean(values), "interval": interval(values)}
            rows[name] |= {"closure_f1": scores["f1"], "closure_f1_interval": scores["interval"]}
            rows[name]["stretch_f1"] = closure_scores(clips, curves, closed_stretches)["f1"]
    return rows


def mean_of_others(clip: LipCurves, clips: Clips) -> np.ndarray:
    """At each frame the mean of the true openings of other people's clips that are that long."""
    curves = [other.truth for other in others(clip, clips)]
    return np.array([np.mean([c[t] for c in curves if t < len(c)] or [0.0]) for t in range(len(clip.truth))])


def lips_of_another(clip: LipCurves, clips: Clips) -> np.ndarray:
    """The model's lips for the next clip of another person, cut or held to the length; empty without every frame."""
    curve = (others(clip, clips) or [clip])[0].every_frame[: len(clip.truth)]
    return np.pad(curve, (0, len(clip.truth) - len(curve)), mode="edge") if len(curve) else curve


def closures(curve: np.ndarray) -> list[tuple[int, int]]:
    """The local minima under CLOSED_SHARE of the range, frame twice; of two within TOLERANCE the lower one counts."""
    low, high = np.min(curve), np.max(curve)
    if high - low < LEAST_RANGE:
        return []
    padded = np.pad(np.asarray(curve, np.float64), 1, constant_values=np.inf)  # so that both ends can be minima
    minima = (curve <= padded[:-2]) & (curve <= padded[2:]) & (curve < low + CLOSED_SHARE * (high - low))
    kept: list[int] = []
    for frame in sorted(np.flatnonzero(minima).tolist(), key=lambda frame: curve[frame]):
        if all(abs(frame - other) > TOLERANCE for other in kept):
            kept.append(frame)
    return [(frame, frame) for frame in sorted(kept)]


def stretches(below: np.ndarray) -> list[tuple[int, int]]:
    """Runs of True in bool [T]: first and last frame of each."""
    return [(frames.start, frames.stop - 1) for (frames,) in find_objects(label(below)[0])]


def closed_stretches(curve: np.ndarray) -> list[tuple[int, int]]:
    """Runs of frames with lips under CLOSED_SHARE of the range; a pause counts once, however its noise trembles."""
    low, high = np.min(curve), np.max(curve)
    return stretches(curve < low + CLOSED_SHARE * (high - low)) if high - low >= LEAST_RANGE else []


def matches(predicted: Sequence[tuple[int, int]], true: Sequence[tuple[int, int]]) -> int:
    """How many events, (first, last) frame in order, can be paired one to one within TOLERANCE frames."""
    count = i = j = 0
    while i < len(predicted) and j < len(true):
        if predicted[i][1] + TOLERANCE < true[j][0]:
            i += 1
        elif true[j][1] + TOLERANCE < predicted[i][0]:
            j += 1
        else:
            count, i, j = count + 1, i + 1, j + 1
    return count


def f1(counts: Sequence[tuple[int, int, int]]) -> float:
    """F1 over clips of (matched, predicted, true): 2 matched / (predicted + true); 0 if there was nothing at all."""
    matched, predicted, true = np.sum(counts, 0)
    return float(2 * matched / (predicted + true)) if predicted + true else 0.0


def closure_scores(clips: Clips, curves: list[np.ndarray], find: Callable = closures) -> dict:
    """Closures of curves [T], one per clip, against the true ones: F1, its interval, precision, recall, true count."""
    pairs = [(find(curve), find(clip.truth)) for curve, clip in zip(curves, clips, strict=True)]
    counts = [(matches(generated, true), len(generated), len(true)) for generated, true in pairs]
    matched, generated, true = np.sum(counts, 0)
    scores = {"f1": f1(counts), "interval": bootstrap(counts, f1), "true": int(true)}
    return scores | {"precision": float(matched / max(generated, 1)), "recall": float(matched / max(true, 1))}
