"""What the suites share: the model, the clips, codes and metric networks loaded once, contact sheets."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from scripts.contact_sheet import evenly, save, sheet
from scripts.evaluation.clips import EvalClip, Source, read_clips
from scripts.evaluation.external_videos import ExternalVideos
from scripts.evaluation.metric_networks import MetricNetworks, load_metric_networks
from scripts.evaluation.pipeline_adapter import FaceReader, ModelUnderTest


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
        codes = {clip.row["id"]: self.model.codes(clip.frames) for clip in self.clips()}
        self.progress(f"codes of {len(codes)} clips read")
        return codes

    @cached_property
    def networks(self) -> MetricNetworks:
        """The metric networks, loaded once."""
        networks = load_metric_networks(self.arguments, self.clips)
        self.progress("metric networks ready")
        return networks

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
