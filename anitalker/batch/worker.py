"""A worker of a batch: a loaded model that runs jobs; the same on every engine."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anitalker.batch.table import Job
from anitalker.config import InputError
from anitalker.weights.registry import sha256

if TYPE_CHECKING:
    from anitalker.pipeline import Portrait
    from anitalker.rendering import RenderFacts

MAX_CACHED_PORTRAITS = 8  # tables often have many recordings of a few people


@dataclass(frozen=True)
class WorkerSetup:
    """How workers are set up.

    load_arguments: of `pipeline.load`; folder: of the outputs; threads: of torch, 0 leaves the choice to it; gpus: that
    the workers of a machine share.
    """

    load_arguments: dict
    folder: str
    threads: int = 0
    gpus: int = 0


class Worker:
    """Loads its model once; `run` renders one job."""

    def __init__(self, setup: WorkerSetup) -> None:
        import torch

        from anitalker.pipeline import load

        if setup.threads:
            torch.set_num_threads(setup.threads)
        self.folder, self.talker = Path(setup.folder), load(**setup.load_arguments)
        self._portraits: OrderedDict[tuple, Portrait] = OrderedDict()

    def run(self, job: Job) -> dict:
        """Render a job; returns its outcome: {"status", "seconds", "frames", "error", "transient"}.

        status: done or failed; transient: the job may succeed if it is tried again. A done job has "output_sha256" too.
        """
        start = time.perf_counter()
        outcome = {"status": "done", "frames": None, "error": None, "transient": False}
        try:
            outcome["frames"] = self._render(job)["frames"]
            outcome["output_sha256"] = sha256(self.folder / job.output_name)  # here, where workers hash in parallel
        except InputError as error:  # it will fail again
            outcome |= {"status": "failed", "error": " ".join(str(error).split())}
        except Exception as error:  # the batch goes on, and the job is tried again
            message = f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
            outcome |= {"status": "failed", "error": message, "transient": True}
        return {**outcome, "seconds": round(time.perf_counter() - start, 3)}

    def _render(self, job: Job) -> RenderFacts:
        output = self.folder / job.output_name
        if job.kind == "segments":
            return self.talker.dub(job.video, None, output, job.options, job.dubbing)
        if job.kind == "video":
            return self.talker.reenact(self._portrait(job), job.source, output, job.options, relative=not job.absolute)
        with self._speech(job) as speech:
            if job.video:
                return self.talker.dub(job.video, speech, output, job.options, job.dubbing)
            return self.talker.render(self._portrait(job), speech, output, job.options)

    @contextlib.contextmanager
    def _speech(self, job: Job) -> Iterator[str | Path]:
        """Give the recording of a job, made of its text if that is its source."""
        if job.kind == "speech":
            yield job.source
            return
        from anitalker.media import text_to_speech

        # Named like a half-written output, so that `Results.clear_parts` deletes it after a killed worker.
        speech = self.folder / f".{job.id[:80]}.{uuid.uuid4().hex[:8]}.part.wav"
        try:
            text_to_speech.speak(job.source, speech, job.voice, lambda *_: None)
            yield speech
        finally:
            speech.unlink(missing_ok=True)

    def _portrait(self, job: Job) -> Portrait:
        """Prepare the portrait, or take it from the cache while its file stays the same."""
        stat = os.stat(job.portrait)
        choices = (
            job.options.face,
            job.options.face_backend,
            (),
            job.options.enhance,
            job.options.size,
            job.options.also,
        )
        key = (job.portrait, stat.st_mtime_ns, stat.st_size, choices)
        if key not in self._portraits:
            self._portraits[key] = self.talker.portrait(job.portrait, *choices)
            if len(self._portraits) > MAX_CACHED_PORTRAITS:
                self._portraits.popitem(last=False)
        self._portraits.move_to_end(key)
        return self._portraits[key]
