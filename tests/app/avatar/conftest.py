"""A `tune` that takes no time: it tells its stages, waits to be cancelled if asked to, and writes a person file."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from anitalker.motion.manner import USUAL
from anitalker.person.person_file import PersonFile, write_person
from anitalker.person.tuning import portrait_key
from anitalker.weights.registry import sha256

TAIL = [0.6, 0.45]


@pytest.fixture(scope="session")
def make_person_file(tmp_path_factory):
    """Writes a person file of a noisy picture for other weights; facts: of it."""
    from anitalker.models.base import PersonTraits

    traits = PersonTraits(
        torch.zeros(1, 128, 128, 3, dtype=torch.uint8),
        torch.zeros(1, 468, 3),
        torch.zeros(1, 20),
        torch.zeros(468, 3),
        USUAL,
    )
    picture = np.random.default_rng(3).integers(0, 255, (128, 128, 3), np.uint8)

    def make(path=None, consent="Ada Lovelace", **facts):
        path = path or tmp_path_factory.mktemp("person") / "ada.safetensors"
        write_person(Path(path), PersonFile(picture, traits, consent, "0" * 64, facts))
        return Path(path)

    return make


@pytest.fixture
def quick_tune(monkeypatch, make_person_file):
    """Takes the place of `Talker.tune`: trains for two steps, or while `hold` is set; `calls`: options that came."""
    from anitalker.pipeline import Talker
    from app.avatar import actions, work

    class Quick:
        def __init__(self):
            self.hold, self.calls, self.resumed = threading.Event(), [], []

        def __call__(self, talker, sources, output, options, progress):
            self.calls.append(options)
            self.resumed.append(Path(output).exists())
            for done in (1, 2):
                progress("faces", done, 2)
            finished = True
            try:
                done = 1
                while done < 3 or (self.hold.is_set() and done < 3000):
                    progress("tuning", min(done, 60), 60)
                    done += 1
                    if self.hold.is_set():
                        threading.Event().wait(0.02)
            except KeyboardInterrupt:
                finished = False
            facts = {"sources": [sha256(Path(source)) for source in sources], "finished": finished, "seconds": 24.0}
            facts |= {"portrait": portrait_key(options.portrait), "mouth_tail": TAIL, "speech_seconds": 0.0}
            make_person_file(output, options.consent, **facts)
            return {"speech_seconds": 0.0}

    quick = Quick()
    monkeypatch.setattr(Talker, "tune", lambda talker, *arguments: quick(talker, *arguments))
    monkeypatch.setattr(work, "SAMPLE_SECONDS", 0.2)
    monkeypatch.setattr(actions, "MIN_SECONDS", 0.5)
    yield quick
    quick.hold.clear()
