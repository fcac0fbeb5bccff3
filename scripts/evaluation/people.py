"""Lips of many speakers: scores are means over people, not clips, and their 95% bootstrap intervals are over people.

Letters: N clips, P people. Curves are lip openings over face height, [T] at 25 frames per second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft

from scripts.evaluation.lips import closures, matches
from scripts.evaluation.metrics import MAX_LAG, interval, lagged, mean, pearson

SAME_SOUND = 0.4  # peak of the normalised cross-correlation above which two recordings have speech in common


@dataclass(frozen=True)
class SpokenLips:
    """Who speaks what: id, person and language (empty: not noted) of a clip; speech [N] at 16 kHz in step with truth,
    the person's own lips [T]; loudness [T] of the speech."""

    name: str
    person: str
    language: str
    speech: np.ndarray
    truth: np.ndarray
    loudness: np.ndarray


def people_report(clips: Sequence[SpokenLips], curves: Sequence[np.ndarray], related: np.ndarray, step: int) -> dict:
    """Curves, one per clip, known at every step-th frame, against the truth -> the share of the report.

    related [N,N]: pairs of clips whose lips should be alike, see `related_clips`; the others are `shuffled`.
    """
    names = [clip.person for clip in clips]
    lags = [lagged(c, np.arange(len(c)) * step, clip.truth) for c, clip in zip(curves, clips, strict=True)]
    lags = person_means(names, np.array(lags))  # [P,2 MAX_LAG + 1]
    at_zero, mean_curve = lags[:, MAX_LAG], lags.mean(0)
    loud = person_means(names, np.array([pearson(clip.loudness, clip.truth) for clip in clips]))
    spreads = [(c.std(), clip.truth[::step].std()) for c, clip in zip(curves, clips, strict=True)]
    spreads = person_means(names, np.array(spreads))  # [P,2]
    report = {"lip_correlation": mean(at_zero), "interval": interval(at_zero)}
    report |= {"lip_lag_frames": int(mean_curve.argmax()) - MAX_LAG, "correlation_at_best_lag": float(mean_curve.max())}
    report |= ratio("above_loudness", at_zero - loud)
    report |= ratio("shuffled", shuffled_means(clips, curves, related, step))
    report |= ratio("spread_ratio", spreads[:, 0], spreads[:, 1])
    if step == 1:
        report["closures"] = closures_of_people(clips, curves)
    return report


def ratio(name: str, numerators: np.ndarray, denominators: np.ndarray | None = None, draws: int = 2000) -> dict:
    """Sum of numerators [P] over that of denominators [P] (none: the mean), and its bootstrap interval over people.

    None where nobody has a value; 0 where the denominators are.
    """
    if not len(numerators):
        return {name: None, f"{name}_interval": None}
    both = np.stack([numerators, np.ones(len(numerators)) if denominators is None else denominators])
    picks = np.random.default_rng(0).integers(0, len(numerators), (draws, len(numerators)))
    above, below = both[:, picks].sum(-1)
    low_high = np.percentile(above / np.maximum(below, 1e-9), [2.5, 97.5]).tolist()
    return {name: float(both[0].sum() / max(both[1].sum(), 1e-9)), f"{name}_interval": low_high}


def person_means(people: Sequence[str], values: np.ndarray) -> np.ndarray:
    """Values [N,...] of the clips of `people` -> each person's mean [P,...], in order of first appearance."""
    names = list(dict.fromkeys(people))
    return np.array([values[[person == name for person in people]].mean(0) for name in names])


def shuffled_means(
    clips: Sequence[SpokenLips], curves: Sequence[np.ndarray], related: np.ndarray, step: int
) -> np.ndarray:
    """Each clip's curve against the truth of all clips that are not related, cut to the shorter -> means of people
    [P]; people without such a clip are left out."""
    people, values = [], []
    for number, (clip, curve) in enumerate(zip(clips, curves, strict=True)):
        others = [other.truth[::step] for other, same in zip(clips, related[number], strict=True) if not same]
        if others:
            people.append(clip.person)
            values.append(mean([pearson(curve[: len(truth)], truth[: len(curve)]) for truth in others]))
    return person_means(people, np.array(values)) if people else np.zeros(0)


def related_clips(clips: Sequence[SpokenLips]) -> np.ndarray:
    """Pairs of clips of one person, or with speech in common: bool [N,N]. Generated faces often share a recording."""
    size = fft.next_fast_len(2 * max(len(clip.speech) for clip in clips))
    spectra = []
    for clip in clips:
        speech = np.asarray(clip.speech, np.float32)
        spectra.append(fft.rfft(speech / max(float(np.linalg.norm(speech)), 1e-9), size))
    related = np.array([[a.person == b.person for b in clips] for a in clips])
    for i, j in zip(*np.nonzero(np.triu(~related)), strict=True):
        common = np.abs(fft.irfft(spectra[i] * spectra[j].conj(), size)).max() > SAME_SOUND
        related[i, j] = related[j, i] = common
    return related


def closures_of_people(clips: Sequence[SpokenLips], curves: Sequence[np.ndarray]) -> dict:
    """F1, precision and recall of the closures of all clips together, with intervals over people, and the true count.

    Closures are those of `lips.closures`; curves [T] have every frame.
    """
    found: dict[str, np.ndarray] = {}  # by person: matched, generated, true
    for clip, curve in zip(clips, curves, strict=True):
        generated, true = closures(curve), closures(clip.truth[: len(curve)])
        counts = np.array([matches(generated, true), len(generated), len(true)])
        found[clip.person] = found.get(clip.person, 0) + counts
    matched, generated, true = np.array(list(found.values())).T
    report = ratio("f1", 2 * matched, generated + true)
    report |= {"interval": report.pop("f1_interval"), "true": int(true.sum())}
    return report | ratio("precision", matched, generated) | ratio("recall", matched, true)
