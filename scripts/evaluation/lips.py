"""Lips against the speaker's own: correlation, lag, spread and closures, beside baselines that know less.

Curves are lip openings over face height, [T] at 25 frames per second. `Lips` is fed clip by clip with the true curve,
the made ones and the loudness; a made curve may be known at every stride-th frame only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scripts.evaluation import events
from scripts.evaluation.metrics import MAX_LAG, bootstrap, interval, lagged, pearson

TREMBLE = 1.0  # frames, deviation of the Gaussian over white noise: lips that move without rest and meaning


class Lips:
    """Curves of clips, and what is to be said of them."""

    def __init__(self, stride: int = 2) -> None:
        self.stride = stride
        self.truth: list[np.ndarray] = []  # per clip [T]
        self.made: list[list[np.ndarray]] = []  # per clip and sample, at frames 0, stride, ...
        self.whole: list[np.ndarray] = []  # one sample of each clip at every frame; empty where it was not rendered
        self.seen: list[np.ndarray] = []  # the scorer on the true frames, at frames 0, stride, ... or all of them
        self.loud: list[np.ndarray] = []
        self.people: list[str] = []

    def add(
        self, truth: np.ndarray, made: list[np.ndarray], whole: np.ndarray, seen: np.ndarray, loud: np.ndarray, who: str
    ) -> None:
        """Curves of one clip, as the lists above hold them."""
        for known, values in zip(
            (self.truth, self.made, self.whole, self.seen, self.loud, self.people),
            (truth, made, whole, seen, loud, who),
            strict=True,
        ):
            known.append(values)

    def correlations(self) -> np.ndarray:
        """Per clip the mean over samples of the correlations at lags -MAX_LAG..MAX_LAG: [clips, 2 MAX_LAG + 1]."""
        return np.array([
            np.mean([lagged(one, np.arange(len(one)) * self.stride, truth) for one in made], 0)
            for made, truth in zip(self.made, self.truth, strict=True)
        ])  # fmt: skip

    def others(self, number: int) -> list[int]:
        """Clips of other people."""
        return [j for j in range(len(self.truth)) if self.people[j] != self.people[number]]

    def shuffled(self) -> np.ndarray:
        """Per clip: its lips against the truth of every clip of another person, cut to the shorter; mean."""
        values = []
        for i, made in enumerate(self.made):
            found = []
            for j in self.others(i):
                other = self.truth[j][:: self.stride]
                found += [pearson(m[: len(other)], other[: len(m)]) for m in made]
            if found:
                values.append(np.mean(found))
        return np.array(values)

    def closures(self, curves: list[np.ndarray], find: Callable = events.closures) -> dict:
        """Closures of curves [T], one per clip, against the true ones: F1, its interval, precision and recall."""
        counts = [events.count_events(find(a), find(b)) for a, b in zip(curves, self.truth, strict=True)]
        matched, made, true = np.sum(counts, 0)
        return {
            "f1": events.f1(counts),
            "interval": bootstrap(counts, events.f1),
            "precision": float(matched / max(made, 1)),
            "recall": float(matched / max(true, 1)),
            "true": int(true),
        }

    def baselines(self) -> dict[str, list[np.ndarray]]:
        """Curves at every frame of systems that know less than the speech, by name."""
        rng = np.random.default_rng(0)
        reach = np.arange(-4, 5)
        kernel = np.exp(-(reach**2) / (2 * TREMBLE**2))
        noise = [np.convolve(rng.normal(size=len(truth) + 8), kernel, mode="valid") for truth in self.truth]
        return {
            "copy": [np.full(len(truth), truth[0]) for truth in self.truth],
            "mean_motion": [self.mean_of_others(i) for i in range(len(self.truth))],
            "loudness": self.loud,
            "trembling": noise,
        }

    def mean_of_others(self, number: int) -> np.ndarray:
        """At each frame the mean of the true openings of other people's clips that are that long."""
        length, others = len(self.truth[number]), self.others(number)
        curves = [self.truth[j][:length] for j in others]
        mean = [np.mean([c[t] for c in curves if t < len(c)] or [0.0]) for t in range(length)]
        return np.array(mean)

    def strangers(self) -> list[np.ndarray]:
        """The whole curve made for another person's clip, the next in turn, cut or held to the length."""
        curves = []
        for i, truth in enumerate(self.truth):
            after = [j for j in self.others(i) if j > i] or self.others(i) or [i]
            other = self.whole[after[0]]
            curves.append(np.pad(other, (0, max(0, len(truth) - len(other))), mode="edge")[: len(truth)])
        return curves

    def table(self) -> dict:
        """Every system in one table: correlation at zero lag and F1 of the closures, each with its interval."""
        rows = self.baselines() | {"scorer_on_true_frames": self.seen}
        complete = all(len(curve) == len(truth) for curve, truth in zip(self.whole, self.truth, strict=True))
        if complete:
            rows |= {"made": self.whole, "shuffled": self.strangers()}
        table = {}
        for name, curves in rows.items():
            if any(len(curve) != len(truth) for curve, truth in zip(curves, self.truth, strict=True)):
                continue
            values = [pearson(curve, truth) for curve, truth in zip(curves, self.truth, strict=True)]
            found = self.closures(curves)
            table[name] = {
                "lip_correlation": float(np.mean(values)),
                "interval": interval(values),
                "closure_f1": found["f1"],
                "closure_f1_interval": found["interval"],
                "stretch_f1": self.closures(curves, events.closed_stretches)["f1"],
            }
        return table

    def result(self) -> dict:
        """The contract's keys of the lips first; correlations are Pearson at zero lag."""
        curves = self.correlations()
        at_zero, mean_curve = curves[:, MAX_LAG], curves.mean(0)
        best = int(mean_curve.argmax())
        shuffled = self.shuffled()
        loud = [pearson(a, b) for a, b in zip(self.loud, self.truth, strict=True)]
        seen = [
            pearson(curve, truth if len(curve) == len(truth) else truth[:: self.stride])
            for curve, truth in zip(self.seen, self.truth, strict=True)
        ]
        pairs = list(zip(self.made, self.truth, strict=True))
        report = {
            "lip_correlation": float(at_zero.mean()),
            "lip_lag_frames": best - MAX_LAG,
            "loudness_baseline": float(np.mean(loud)),
            "shuffled": float(shuffled.mean()) if len(shuffled) else 0.0,
            "spread_ratio": self._spread(pairs),
            "spread_ratio_interval": bootstrap(pairs, self._spread),
            "correlation_at_best_lag": float(mean_curve[best]),
            "scorer_lip_correlation": float(np.mean(seen)),
            "per_clip": [float(x) for x in at_zero],
            "interval": interval(at_zero),
            "above_loudness": float(at_zero.mean() - np.mean(loud)),
            "above_loudness_interval": interval(at_zero - np.array(loud)),
            "shuffled_interval": interval(shuffled) if len(shuffled) else None,
            "clips": len(self.truth),
        }
        if all(len(curve) == len(truth) for curve, truth in zip(self.whole, self.truth, strict=True)):
            report["closures"] = self.closures(self.whole) | {
                "stretches": self.closures(self.whole, events.closed_stretches)
            }
        report["table"] = self.table()
        return report

    def _spread(self, pairs: list[tuple]) -> float:
        made = np.mean([np.mean([one.std() for one in curves]) for curves, _ in pairs])
        return float(made / max(np.mean([truth[:: self.stride].std() for _, truth in pairs]), 1e-9))
