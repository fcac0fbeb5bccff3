"""One worker of a batch: a loaded model that takes jobs and gives records; the same on every engine."""

from __future__ import annotations

import os
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from anitalker.batch.table import Job
from anitalker.config import InputError
from anitalker.weights.registry import sha256

PORTRAITS = 8  # encoded portraits kept: tables often go through many recordings of a few people


@dataclass(frozen=True)
class Setup:
    """What a worker is made of: arguments of `pipeline.load`, the outputs' folder, threads (0: torch's
    choice), GPUs to share out."""

    model: dict
    folder: str
    threads: int = 0
    gpus: int = 0


class Worker:
    """Loads once; `do` renders one job."""

    def __init__(self, setup: Setup) -> None:
        import torch

        from anitalker.pipeline import load

        if setup.threads:
            torch.set_num_threads(setup.threads)
        self.folder, self.talker = Path(setup.folder), load(**setup.model)
        self._portraits: OrderedDict[tuple, object] = OrderedDict()

    def do(self, job: Job) -> dict:
        """Render a job -> {"status", "seconds", "frames", "error", "passing"}; passing: the fault may not return."""
        start = time.perf_counter()
        record = {"status": "done", "frames": None, "error": None, "passing": False}
        try:
            record["frames"] = self._render(job)["frames"]
            record["output_sha256"] = sha256(self.folder / f"{job.id}.mp4")  # here: many workers hash at once
        except InputError as error:  # the same the next time
            record |= {"status": "failed", "error": " ".join(str(error).split())}
        except Exception as error:  # the batch goes on, the record tells, and the job is tried again
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
            record |= {"status": "failed", "error": said, "passing": True}
        return {**record, "seconds": round(time.perf_counter() - start, 3)}

    def _render(self, job: Job) -> dict:
        portrait, output = self._portrait(job), self.folder / f"{job.id}.mp4"
        if job.kind == "video":
            return self.talker.reenact(portrait, job.source, output, job.options, relative=not job.absolute)
        if job.kind == "speech":
            return self.talker.render(portrait, job.source, output, job.options)
        from anitalker.media import text_to_speech

        # Named like a part of the output, so that what a killed worker leaves is cleared away with it.
        speech = self.folder / f".{job.id[:80]}.{uuid.uuid4().hex[:8]}.part.wav"
        try:
            text_to_speech.speak(job.source, speech, job.voice, lambda *_: None)
            return self.talker.render(portrait, speech, output, job.options)
        finally:
            speech.unlink(missing_ok=True)

    def _portrait(self, job: Job):
        """The portrait, encoded; kept for the next jobs, while its file stays the same."""
        about = os.stat(job.portrait)
        chosen = (job.options.face, job.options.face_backend, (), job.options.enhance)
        key = (job.portrait, about.st_mtime_ns, about.st_size, chosen)
        if key not in self._portraits:
            self._portraits[key] = self.talker.portrait(job.portrait, *chosen)
            if len(self._portraits) > PORTRAITS:
                self._portraits.popitem(last=False)
        self._portraits.move_to_end(key)
        return self._portraits[key]
