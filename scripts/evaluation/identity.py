"""Same person or not: distributions of similarity between real pictures, equal-error rate, percentiles in them.

A similarity by itself says nothing. `percentile` says how many pairs of different people look less alike,
`percentile_same` how many pairs of one person's frames do: a perfect copy of somebody in another moment gets about 100
and 50.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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

    def percentile(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Percent of the pairs of different people that look less alike than each value."""
        return _below(self.different, values)

    def percentile_same(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Percent of the pairs of the same person that look less alike than each value."""
        return _below(self.same, values)

    def result(self) -> dict:
        """Equal-error rate, the similarity at it, and how many pairs it rests on."""
        rate, threshold = equal_error(self.same, self.different)
        pairs = {"same": len(self.same), "different": len(self.different)}
        means = {"mean_same": float(self.same.mean()), "mean_different": float(self.different.mean())}
        return {"equal_error_rate": rate, "threshold": threshold, "pairs": pairs, **means}


def _below(known: np.ndarray, values: Sequence[float] | np.ndarray) -> np.ndarray:
    return 100 * np.searchsorted(np.sort(known), np.asarray(values, np.float64)) / len(known)


def equal_error(same: np.ndarray, different: np.ndarray) -> tuple[float, float]:
    """Where as many of the same are refused as of the different accepted -> (that share, 0..0.5; the similarity)."""
    same, different = np.sort(same), np.sort(different)
    thresholds = np.concatenate([same, different])
    refused = np.searchsorted(same, thresholds) / len(same)
    accepted = 1 - np.searchsorted(different, thresholds) / len(different)
    best = int(np.abs(refused - accepted).argmin())
    return float((refused[best] + accepted[best]) / 2), float(thresholds[best])


def same_pairs(person: Person, rng: np.random.Generator, across: bool = False, count: int = PAIRS) -> np.ndarray:
    """Similarities of pairs of a person's pictures: of two clips, or (unless across) a second apart in one clip."""
    first, second = np.triu_indices(len(person.embeddings), 1)
    elsewhere = person.clips[first] != person.clips[second]
    fit = elsewhere if across else elsewhere | (np.abs(person.frames[first] - person.frames[second]) >= APART)
    first, second = first[fit], second[fit]
    if len(first) > count:
        picks = rng.choice(len(first), count, replace=False)
        first, second = first[picks], second[picks]
    return (person.embeddings[first] * person.embeddings[second]).sum(1)


def different_pairs(people: Sequence[Person], rng: np.random.Generator, count: int = PAIRS) -> np.ndarray:
    """Similarities of pairs of different people, at most `count` for every two of them."""
    values = [np.zeros(0, np.float32)]
    for number, one in enumerate(people):
        for other in people[number + 1 :]:
            if one.name == other.name:
                continue
            found = (one.embeddings @ other.embeddings.T).ravel()
            values.append(found if len(found) <= count else rng.choice(found, count, replace=False))
    return np.concatenate(values)


def similarities(people: Sequence[Person], across: bool = False) -> Similarities:
    """The two distributions over these people; always the same pairs."""
    rng = np.random.default_rng(0)
    same = [same_pairs(person, rng, across) for person in people]
    return Similarities(np.concatenate([*same, np.zeros(0, np.float32)]), different_pairs(people, rng))


def gather(entries: Sequence[tuple[str, int, np.ndarray, np.ndarray]]) -> list[Person]:
    """(name, clip, frames [T], embeddings [T,D]) of clips and stills -> one Person per name, as they come."""
    by_name: dict[str, list] = {}
    for entry in entries:
        by_name.setdefault(entry[0], []).append(entry)
    people = []
    for name, parts in by_name.items():
        clips = np.concatenate([np.full(len(part[2]), part[1]) for part in parts])
        frames = np.concatenate([part[2] for part in parts])
        people.append(Person(name, np.concatenate([part[3] for part in parts]), clips, frames))
    return people
