"""What the suites share: the model, the clips, codes and metric networks loaded once, contact sheets."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from anitalker.config import InputError
from scripts.contact_sheet import evenly, save, sheet
from scripts.evaluation.clips import EvalClip, ExternalVideos, Source, read_clips
from scripts.evaluation.frechet import FrechetDistance
from scripts.evaluation.identity import Similarities, gather, similarities
from scripts.evaluation.identity_network import IdentityNetwork
from scripts.evaluation.perception import Perception, features_file
from scripts.evaluation.pipeline_adapter import FaceReader, ModelUnderTest
from scripts.evaluation.sync import SyncNet
from scripts.training.data import load_stills

FRAMES_OF_A_PERSON = 12  # of a clip, in the distributions of identity


@dataclass
class MetricNetworks:
    """Each is optional: perception(output, target, labels), verifier(frames, points), Fréchet distances, SyncNet.

    clips: similarities between frames of the clips' people; stills: same pairs as in clips, different people from the
    stills.
    """

    perception: Callable | None = None
    verifier: Callable | None = None
    clips: Similarities | None = None
    stills: Similarities | None = None
    frechet: Sequence[FrechetDistance] = ()
    syncnet: Callable | None = None

    def about(self) -> dict:
        """The verifier's errors when it was published, and on this split."""
        if self.verifier is None:
            return {}
        report = {"network": self.verifier.name, "published": self.verifier.config.get("equal_error", {})}
        people = {"clips": self.clips, "stills": self.stills}
        return {"verifier": report | {name: known.result() for name, known in people.items() if known is not None}}


class Session:
    """One evaluation. model: a FaceReader is enough for `videos`, another system's in place of rendering."""

    def __init__(
        self, model: ModelUnderTest | FaceReader, arguments: argparse.Namespace, videos: ExternalVideos | None = None
    ) -> None:
        self.model, self.arguments, self.videos = model, arguments, videos
        self.started = time.monotonic()

    def clips(self, speech: bool = False) -> Iterator[EvalClip]:
        """The clips of the split; with `videos` those that have one."""
        for clip in read_clips(self.arguments.data, self.arguments.split, self.arguments.clips, speech):
            if self.videos is None or self.videos.has(clip.row):
                yield clip

    @cached_property
    def codes(self) -> dict[str, np.ndarray]:
        """Motion codes [T,20] of every clip by its id, filtered."""
        return {clip.row["id"]: self.model.codes(clip.frames) for clip in self.clips()}

    @cached_property
    def networks(self) -> MetricNetworks:
        """The metric networks that the arguments name and their suites need, loaded once."""
        networks, arguments, suites = MetricNetworks(), self.arguments, set(self.arguments.parts)
        features = features_file(arguments.data, arguments.features)
        if features != "none" and suites & {"reenactment", "mouth", "dub", "hal"}:
            networks.perception = Perception(features)
        if arguments.identity_network != "none" and suites & {"reenactment", "dub", "cross", "held"}:
            try:
                verifier = IdentityNetwork(arguments.identity_network)
            except InputError as error:
                if arguments.identity_network != "verifier":
                    raise
                print(f"identity is left out: {error}", file=sys.stderr)  # train_verifier makes it, it is not shipped
            else:
                networks.clips, networks.stills = self.known_people(verifier)
                networks.verifier = verifier if networks.clips else None
        if "reenactment" in suites:
            paths = {"fid": arguments.inception, "fvd": arguments.i3d}
            networks.frechet = [FrechetDistance(name, path) for name, path in paths.items() if path]
        if "audio" in suites and arguments.syncnet:
            networks.syncnet = SyncNet(arguments.syncnet)
        return networks

    def known_people(self, verifier: Callable) -> tuple[Similarities | None, Similarities | None]:
        """Similarities among the people of the clips; and of the split's stills, whose same pairs are the clips'.

        None where the clips show fewer than two people, or nobody for more than a second: nothing to compare with.
        """
        entries = []
        for number, clip in enumerate(self.clips()):
            numbers, frames, landmarks = clip.spread(FRAMES_OF_A_PERSON)
            entries.append((clip.row["identity"], number, numbers, verifier(frames, landmarks)))
        people = similarities(gather(entries))
        if not len(people.same) or not len(people.different):
            return None, None
        stills = list(load_stills(self.arguments.data, (self.arguments.split,)))
        if len(stills) < 2:
            return people, people
        rows, images, points = zip(*stills, strict=True)
        embeddings = verifier(np.stack(images), np.stack(points))
        shown = [(row["id"], -1 - n, np.zeros(1, int), embeddings[n : n + 1]) for n, row in enumerate(rows)]
        return people, Similarities(people.same, similarities(gather(shown)).different)

    def source(self, clip: EvalClip) -> Source:
        """The first frame of a clip as the portrait."""
        return Source(clip.frames[0], self.model.landmarks(clip.frames[:1])[0], self.codes[clip.row["id"]][0])

    def still_source(self, image: np.ndarray) -> Source:
        """A still, uint8 [256,256,3], as the portrait."""
        return Source(image, self.model.landmarks(image[None])[0], self.model.codes(image[None])[0])

    def progress(self, text: str) -> None:
        """A line on stderr with the time so far."""
        print(f"{text}, {time.monotonic() - self.started:.0f} s", file=sys.stderr, flush=True)

    def sheet(self, name: str, rows: Sequence[np.ndarray], columns: int = 8) -> None:
        """With --out: OUT/NAME.png, some of the true frames [T,H,W,3] above the same of the generated ones."""
        picks = evenly(len(rows[0]), columns)
        self.save_sheet(name, list(zip((f"{name}   true", "made"), (row[picks] for row in rows), strict=True)))

    def save_sheet(self, name: str, rows: Sequence[tuple[str, np.ndarray]]) -> None:
        """With --out: OUT/NAME.png of rows (label, frames)."""
        if self.arguments.out:
            save(sheet(rows), Path(self.arguments.out) / f"{name}.png")
