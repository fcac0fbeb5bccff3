"""Metric networks, each optional: perceptual distance, identity with its distributions, FID, FVD, SyncNet."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from anitalker.config import InputError
from scripts.evaluation.clips import EvalClip
from scripts.evaluation.frechet import FrechetDistance
from scripts.evaluation.identity import Similarities, gather, similarities
from scripts.evaluation.perception import Perception, features_file
from scripts.evaluation.sync import SyncNet
from scripts.evaluation.verifier import Verifier
from scripts.training.data import load_stills

LOOKS = 12  # frames of a clip in the distributions of identity


@dataclass
class MetricNetworks:
    """perception(output, target, labels), verifier(frames, points) and what it says about real people of the split.

    clips: similarities between frames of the clips' people; stills: same pairs as in clips, different people from the
    stills.
    """

    perception: Callable | None = None
    verifier: Callable | None = None
    clips: Similarities | None = None
    stills: Similarities | None = None
    frechet: Sequence[FrechetDistance] = ()
    syncnet: SyncNet | None = None

    def about(self) -> dict:
        """What is known of the verifier beside its verdicts: its errors when published and on this split."""
        if self.verifier is None:
            return {}
        report = {"network": self.verifier.name, "published": self.verifier.config.get("equal_error", {})}
        people = {"clips": self.clips, "stills": self.stills}
        return {"verifier": report | {name: known.result() for name, known in people.items() if known is not None}}


def load_metric_networks(arguments: argparse.Namespace, clips: Callable[[], Iterator[EvalClip]]) -> MetricNetworks:
    """The networks that the arguments name and their suites need; `clips()` yields the split's clips."""
    networks, suites = MetricNetworks(), set(arguments.parts)
    features = features_file(arguments.data, arguments.features)
    if features != "none" and suites & {"reenactment", "hal"}:
        networks.perception = Perception(features)
    if arguments.identity_network != "none" and suites & {"reenactment", "cross", "held"}:
        try:
            verifier = Verifier(arguments.identity_network)
        except InputError as error:
            if arguments.identity_network != "verifier":
                raise
            print(f"identity is left out: {error}", file=sys.stderr)  # trained by scripts.train_verifier, not shipped
        else:
            networks.clips, networks.stills = known_people(verifier, clips(), arguments.data, arguments.split)
            networks.verifier = verifier if networks.clips else None
    if "reenactment" in suites:
        paths = {"fid": arguments.inception, "fvd": arguments.i3d}
        networks.frechet = [FrechetDistance(name, path) for name, path in paths.items() if path]
    if "audio" in suites and arguments.syncnet:
        networks.syncnet = SyncNet(arguments.syncnet)
    return networks


def known_people(
    verifier: Callable, clips: Iterator[EvalClip], data: str, split: str
) -> tuple[Similarities | None, Similarities | None]:
    """Similarities among the people of the split's clips; and of its stills, whose same pairs are the clips'.

    None where the clips show fewer than two people, or nobody for more than a second: there is nothing to compare with.
    """
    entries = []
    for number, clip in enumerate(clips):
        numbers, frames, landmarks = clip.spread(LOOKS)
        entries.append((clip.row["identity"], number, numbers, verifier(frames, landmarks)))
    people = similarities(gather(entries))
    if not len(people.same) or not len(people.different):
        return None, None
    stills = list(load_stills(data, (split,)))
    if len(stills) < 2:
        return people, people
    rows, images, points = zip(*stills, strict=True)
    embeddings = verifier(np.stack(images), np.stack(points))
    shown = [(row["id"], -1 - n, np.zeros(1, int), embeddings[n : n + 1]) for n, row in enumerate(rows)]
    return people, Similarities(people.same, similarities(gather(shown)).different)
