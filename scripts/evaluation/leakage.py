"""Does the code say who it is? Linear probes from codes to people: chance is what a motion code should get."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scripts.evaluation.metrics import bootstrap

TRAIN, TEST = 0.4, 0.6  # a person's frames up to here teach the probe, those from there on judge it
WEIGHT_DECAY = 1e-2
LEAST = 10  # frames of a person


def linear_probe(features: np.ndarray, people: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Softmax regression on standardised features [N,D] of people 0..K-1 [N] -> answers for test [M,D]: [M].

    Every person counts alike, however many frames there are; full-batch L-BFGS to convergence.
    """
    import torch
    from torch.nn import functional as F

    mean, spread = features.mean(0), features.std(0) + 1e-6
    x, seen = (torch.from_numpy(np.asarray((f - mean) / spread, np.float32)) for f in (features, test))
    y, count = torch.from_numpy(people.astype(np.int64)), int(people.max()) + 1
    weight = torch.zeros(count, x.shape[1] + 1, requires_grad=True)
    share = 1 / torch.bincount(y, minlength=count).clamp(min=1).float()
    optimizer = torch.optim.LBFGS([weight], max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        error = F.cross_entropy(x @ weight[:, :-1].T + weight[:, -1], y, share)
        total = error + WEIGHT_DECAY * weight[:, :-1].square().sum() / 2
        total.backward()
        return total

    optimizer.step(loss)
    with torch.no_grad():
        return (seen @ weight[:, :-1].T + weight[:, -1]).argmax(1).numpy()


def leakage(clips: Sequence[tuple[str, np.ndarray]]) -> dict:
    """(person, features [T,D] in order of time) of clips -> accuracy of the probe, people counting alike.

    The first TRAIN of everybody's frames teach it, those from TEST on are asked, so that neighbours in time are not on
    both sides. What a person does all the time, a pose or a smile, counts as leakage too.
    """
    by_person: dict[str, list[np.ndarray]] = {}
    for name, features in clips:
        by_person.setdefault(name, []).append(features)
    everything = [np.concatenate(parts) for parts in by_person.values()]
    everything = [rows for rows in everything if len(rows) >= LEAST]
    if len(everything) < 2:
        return {}
    known = [rows[: int(TRAIN * len(rows))] for rows in everything]
    asked = [rows[int(TEST * len(rows)) :] for rows in everything]
    numbers = [np.concatenate([np.full(len(r), n) for n, r in enumerate(side)]) for side in (known, asked)]
    answers = linear_probe(np.concatenate(known), numbers[0], np.concatenate(asked))
    right = [float((answers[numbers[1] == n] == n).mean()) for n in range(len(everything))]
    return {
        "accuracy": float(np.mean(right)),
        "interval": bootstrap(right, lambda chosen: float(np.mean(chosen))),
        "chance": 1 / len(everything),
        "people": len(everything),
    }
