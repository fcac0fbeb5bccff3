"""The networks that judge, each optional: perceptual distance, identity with its distributions, FID, FVD, SyncNet."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from anitalker.config import InputError
from scripts.evaluation.identity import Similarities, gather, similarities
from scripts.evaluation.metrics import bootstrap

LOOKS = 12  # frames of a clip in the distributions of identity


@dataclass
class Judges:
    """perception(made, true, labels), verifier(frames, points) and what it says about real people of the split.

    clips: similarities between frames of the clips' people; stills: same pairs as in clips, different people from the
    stills. inception, i3d, syncnet: None, or the networks of frechet.py and sync.py.
    """

    perception: Callable | None = None
    verifier: Callable | None = None
    clips: Similarities | None = None
    stills: Similarities | None = None
    inception: Callable | None = None
    i3d: Callable | None = None
    syncnet: Callable | None = None

    def identity(self, made: np.ndarray, points: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
        """Similarity of made frames uint8 [T,H,W,3] with points [T,468,3] to embeddings [T or 1,D] -> [T]."""
        return (self.verifier(made, points) * embeddings).sum(1)

    def about(self) -> dict:
        """What is to be known of the judges beside their verdicts: the verifier's own errors on this split."""
        if self.verifier is None:
            return {}
        report = {"network": self.verifier.name, "published": self.verifier.config.get("equal_error", {})}
        for name, known in (("clips", self.clips), ("stills", self.stills)):
            if known is not None and len(known.same) and len(known.different):
                report[name] = known.result()
        return {"verifier": report}


def load_judges(arguments, clips: Callable[[], Iterator]) -> Judges:
    """The judges that the arguments name and their parts need; `clips()` yields the split's EvalClips."""
    from scripts.evaluation.frechet import Inception, VideoNetwork
    from scripts.evaluation.perception import Perception, features_file
    from scripts.evaluation.sync import SyncNet
    from scripts.evaluation.verifier import Verifier

    judges, parts = Judges(), set(arguments.parts)
    features = features_file(arguments.data, arguments.features)
    if features != "none" and parts & {"reenactment", "hal"}:
        judges.perception = Perception(features)
    if arguments.identity_network != "none" and parts & {"reenactment", "cross", "held"}:
        try:
            judges.verifier = Verifier(arguments.identity_network)
        except InputError as error:
            if arguments.identity_network != "verifier":
                raise
            print(f"identity is left out: {error}", file=sys.stderr)  # trained by scripts.train_verifier, not shipped
        if judges.verifier is not None:
            judges.clips, judges.stills = known_people(judges.verifier, clips, arguments)
        if judges.clips is None:
            judges.verifier = None
    if "reenactment" in parts:
        judges.inception = Inception(arguments.inception) if arguments.inception else None
        judges.i3d = VideoNetwork(arguments.i3d) if arguments.i3d else None
    if "audio" in parts:
        judges.syncnet = SyncNet(arguments.syncnet) if arguments.syncnet else None
    return judges


def known_people(verifier: Callable, clips: Callable, arguments) -> tuple[Similarities | None, Similarities | None]:
    """Similarities among the people of the split's clips; and of its stills, whose same pairs are the clips'.

    None where the clips show fewer than two people, or nobody for more than a second: there is nothing to compare with.
    """
    from scripts.training.data import load_stills

    entries = []
    for number, clip in enumerate(clips()):
        picks = np.unique(np.linspace(0, len(clip.frames) - 1, LOOKS).round().astype(int))
        entries.append((clip.row["identity"], number, picks, verifier(clip.frames[picks], clip.landmarks[picks])))
    people = similarities(gather(entries))
    if not len(people.same) or not len(people.different):
        return None, None
    stills = list(load_stills(arguments.data, (arguments.split,)))
    if len(stills) < 2:
        return people, people
    seen = verifier(np.stack([image for _, image, _ in stills]), np.stack([points for *_, points in stills]))
    shown = [(row["id"], -1 - n, np.zeros(1, int), seen[n : n + 1]) for n, (row, *_) in enumerate(stills)]
    return people, Similarities(people.same, similarities(gather(shown)).different)


class IdentityTable:
    """Similarities per clip and frame, turned into percentiles between real people's."""

    def __init__(self, known: Similarities) -> None:
        self.known = known
        self.rows: dict[str, list[np.ndarray]] = {}

    def add(self, row: str, values: np.ndarray) -> None:
        """Similarities [T] of one clip under the name of a row."""
        self.rows.setdefault(row, []).append(np.asarray(values))

    def result(self) -> dict:
        """Per row: median over all frames of the percentile among pairs of different people, its bootstrap interval
        over clips, the 10th percentile of it (bad moments), and the median among pairs of the same person."""
        return {row: self.summary(clips) for row, clips in self.rows.items()}

    def summary(self, clips: list[np.ndarray]) -> dict:
        """One row of `result`."""
        ranks = [self.known.percentile(values) for values in clips]
        everything = np.concatenate(ranks)
        return {
            "similarity": float(np.concatenate(clips).mean()),
            "percentile": float(np.median(everything)),
            "interval": bootstrap(ranks, lambda chosen: float(np.median(np.concatenate(chosen)))),
            "percentile_low": float(np.percentile(everything, 10)),
            "percentile_same": float(np.median(self.known.percentile_same(np.concatenate(clips)))),
            "per_clip": [float(np.median(rank)) for rank in ranks],
        }
