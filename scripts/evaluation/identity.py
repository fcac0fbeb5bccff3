"""Same person or not: distributions of similarity between real pictures, equal-error rate, percentiles in them.

`percentile` is the share of pairs of different people that look less alike, `percentile_same` the share of pairs of one
person's frames: a perfect copy of somebody in another moment gets about 100 and 50.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import percentileofscore

from scripts.evaluation.metrics import bootstrap, mean

APART = 25  # frames, 1 s: closer frames of one clip are nearly one picture
PAIRS = 100  # per person and pair of people, so that long clips do not count more


@dataclass(frozen=True)
class Person:
    """Embeddings [T,D] of one person, the clip (any number) and the frame number of each [T]."""

    name: str
    embeddings: np.ndarray
    clips: np.ndarray
    frames: np.ndarray


@dataclass(frozen=True)
class Similarities:
    """Cosines of pairs of one person's pictures and of pairs of different people's."""

    same: np.ndarray
    different: np.ndarray

    def percentile(self, values: np.ndarray) -> np.ndarray:
        """Percent of the pairs of different people that look less alike than each value."""
        return percentileofscore(self.different, values, kind="strict")

    def percentile_same(self, values: np.ndarray) -> np.ndarray:
        """Percent of the pairs of the same person that look less alike than each value."""
        return percentileofscore(self.same, values, kind="strict")

    def result(self) -> dict:
        """Equal-error rate, the similarity at it, how many pairs it rests on, and their mean similarities."""
        rate, threshold = equal_error(self.same, self.different)
        pairs = {"same": len(self.same), "different": len(self.different)}
        means = {"mean_same": mean(self.same), "mean_different": mean(self.different)}
        return {"equal_error_rate": rate, "threshold": threshold, "pairs": pairs, **means}


def equal_error(same: np.ndarray, different: np.ndarray) -> tuple[float, float]:
    """Where as many of the same are refused as of the different accepted -> (that share, 0..0.5; the similarity)."""
    same, different = np.sort(same), np.sort(different)
    thresholds = np.concatenate([same, different])
    refused = np.searchsorted(same, thresholds) / len(same)
    accepted = 1 - np.searchsorted(different, thresholds) / len(different)
    best = int(np.abs(refused - accepted).argmin())
    return float((refused[best] + accepted[best]) / 2), float(thresholds[best])


def same_pairs(person: Person, rng: np.random.Generator, across: bool = False) -> np.ndarray:
    """Similarities of pairs of a person's pictures: of two clips, or (unless across) a second apart in one clip."""
    first, second = np.triu_indices(len(person.embeddings), 1)
    elsewhere = person.clips[first] != person.clips[second]
    fit = elsewhere if across else elsewhere | (np.abs(person.frames[first] - person.frames[second]) >= APART)
    first, second = first[fit], second[fit]
    if len(first) > PAIRS:
        picks = rng.choice(len(first), PAIRS, replace=False)
        first, second = first[picks], second[picks]
    return (person.embeddings[first] * person.embeddings[second]).sum(1)


def different_pairs(people: Sequence[Person], rng: np.random.Generator, count: int = PAIRS) -> np.ndarray:
    """Similarities of pairs of different people, at most `count` for every two of them."""
    values = [np.zeros(0, np.float32)]
    for number, person in enumerate(people):
        for other in people[number + 1 :]:
            if person.name != other.name:
                cosines = (person.embeddings @ other.embeddings.T).ravel()
                values.append(cosines if len(cosines) <= count else rng.choice(cosines, count, replace=False))
    return np.concatenate(values)


def similarities(people: Sequence[Person]) -> Similarities:
    """The two distributions over these people; always the same pairs."""
    rng = np.random.default_rng(0)
    same = [same_pairs(person, rng) for person in people]
    return Similarities(np.concatenate([*same, np.zeros(0, np.float32)]), different_pairs(people, rng))


def gather(entries: Sequence[tuple[str, int, np.ndarray, np.ndarray]]) -> list[Person]:
    """(name, clip, frames [T], embeddings [T,D]) of clips and stills -> one Person per name, as they come."""
    by_name = defaultdict(list)
    for name, clip, frames, embeddings in entries:
        by_name[name].append((embeddings, np.full(len(frames), clip), frames))
    return [Person(name, *map(np.concatenate, zip(*arrays, strict=True))) for name, arrays in by_name.items()]


def identity_report(known: Similarities, rows: dict[str, list[np.ndarray]]) -> dict:
    """Similarities [T] of clips per row -> their places among those of real people.

    Per row: median over all frames of the percentile among pairs of different people, its bootstrap interval over
    clips, the 10th percentile of it (bad moments), the median among pairs of the same person, and each clip's median.
    """
    report = {}
    for row, clips in rows.items():
        ranks, values = [known.percentile(clip) for clip in clips], np.concatenate(clips)
        report[row] = {
            "similarity": mean(values),
            "percentile": float(np.median(np.concatenate(ranks))),
            "interval": bootstrap(ranks, lambda chosen: float(np.median(np.concatenate(chosen)))),
            "percentile_low": float(np.percentile(np.concatenate(ranks), 10)),
            "percentile_same": float(np.median(known.percentile_same(values))),
            "per_clip": [float(np.median(rank)) for rank in ranks],
        }
    return report
