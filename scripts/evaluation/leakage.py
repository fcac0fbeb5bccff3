"""Does the code say who it is? Linear probes from codes to people: chance is what a motion code should get."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scripts.evaluation.metrics import bootstrap, mean

TRAIN, TEST = 0.4, 0.6  # a person's frames up to here teach the probe, those from there on judge it
WEIGHT_DECAY = 1e-2
LEAST = 10  # frames of a person


def linear_probe(features: np.ndarray, people: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Softmax regression on standardised features [N,D] of people 0..K-1 [N] -> answers for test [M,D]: [M].

    Every person counts alike, however many frames there are.
    """
    strength = 1 / (WEIGHT_DECAY * len(features))
    regression = LogisticRegression(C=strength, class_weight="balanced", tol=1e-8, max_iter=10_000)
    return make_pipeline(StandardScaler(), regression).fit(features, people).predict(test)


def leakage(clips: Sequence[tuple[str, np.ndarray]]) -> dict:
    """(person, features [T,D] in order of time) of clips -> accuracy of the probe, people counting alike.

    The first TRAIN of everybody's frames teach it, those from TEST on are asked, so that neighbours in time are not on
    both sides. What a person does all the time, a pose or a smile, counts as leakage too.
    """
    by_person = defaultdict(list)
    for name, features in clips:
        by_person[name].append(features)
    people = [rows for rows in map(np.concatenate, by_person.values()) if len(rows) >= LEAST]
    if len(people) < 2:
        return {}
    known = [rows[: int(TRAIN * len(rows))] for rows in people]
    asked = [rows[int(TEST * len(rows)) :] for rows in people]
    known_names, asked_names = (np.repeat(np.arange(len(people)), list(map(len, side))) for side in (known, asked))
    answers = linear_probe(np.concatenate(known), known_names, np.concatenate(asked))
    right = [mean(answers[asked_names == n] == n) for n in range(len(people))]
    return {"accuracy": mean(right), "interval": bootstrap(right), "chance": 1 / len(people), "people": len(people)}
