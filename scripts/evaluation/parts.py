"""The parts of the evaluation by name: each runs over the clips or stills and gives its share of the report."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from anitalker.config import SAMPLE_RATE, InputError

HELD_SPEECH = 4  # seconds


def progress(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr, flush=True)


class Session:
    """What the parts share: subject, arguments, clips, codes read once, judges loaded once, sheets.

    clips(speech) yields the EvalClips of the split; outputs: videos of another system, or None.
    """

    def __init__(self, subject, arguments: argparse.Namespace, clips: Callable[[bool], Iterator], outputs=None) -> None:
        self.subject, self.arguments, self.outputs = subject, arguments, outputs
        self._clips, self.started = clips, time.monotonic()

    def clips(self, speech: bool = True) -> Iterator:
        """The clips of the split; with outputs those that have a video."""
        for clip in self._clips(speech):
            if self.outputs is None or self.outputs.has(clip.row):
                yield clip

    @cached_property
    def codes(self) -> dict[str, np.ndarray]:
        """Motion codes [T,20] of every clip by its id, filtered."""
        codes = {clip.row["id"]: self.subject.codes(clip.frames) for clip in self.clips(speech=False)}
        self.say(f"codes of {len(codes)} clips read")
        return codes

    @cached_property
    def judges(self):
        """The networks that judge."""
        from scripts.evaluation.judges import load_judges

        judges = load_judges(self.arguments, lambda: self.clips(speech=False))
        self.say("judges ready")
        return judges

    def say(self, text: str) -> None:
        """Progress with the time so far."""
        progress(f"{text}, {time.monotonic() - self.started:.0f} s")

    def sheet(self, name: str, rows: Sequence[np.ndarray], columns: int = 8) -> None:
        """With --out: a row of true frames above a row of made ones, as OUT/NAME.png."""
        from scripts.contact_sheet import evenly, save, sheet

        if self.arguments.out and rows:
            picks = evenly(len(rows[0]), columns)
            labelled = [(label, row[picks]) for label, row in zip((f"{name}   true", "made"), rows, strict=True)]
            save(sheet(labelled), Path(self.arguments.out) / f"{name}.png")


def run_codes(session: Session) -> dict:
    """Codes against labels."""
    from scripts.evaluation.reenactment import CodeAccuracy

    part = CodeAccuracy(session.subject)
    for clip in session.clips(speech=False):
        part.add(clip, session.codes[clip.row["id"]])
    return {"codes": part.result()}


def run_reenactment(session: Session) -> dict:
    """Self-reenactment."""
    from scripts.evaluation.reenactment import SelfReenactment

    codes = {} if session.outputs else session.codes
    mean = np.mean([code.mean(0) for code in codes.values()], 0) if codes else None
    part = SelfReenactment(session.subject, mean, session.arguments.stride, session.judges, session.outputs)
    for clip in session.clips(speech=False):
        part.add(clip, codes.get(clip.row["id"]))
        session.sheet(clip.row["id"], part.sheet)
        session.say(f"reenactment of {clip.row['id']}")
    return part.result() | session.judges.about()


def run_audio(session: Session) -> dict:
    """Speech-driven."""
    from scripts.evaluation.speaking import AudioDriven, is_spoken

    arguments = session.arguments
    part = AudioDriven(
        session.subject, arguments.samples, arguments.stride, arguments.whole, session.judges, session.outputs
    )
    for clip in session.clips():
        if is_spoken(clip.row):
            part.add(clip, None if session.outputs else session.codes[clip.row["id"]])
            session.sheet(f"speaking-{clip.row['id']}", part.sheet)
            session.say(f"speech of {clip.row['id']}")
    return {"audio_driven": part.result()} if part.lips.truth else {}


def run_cross(session: Session) -> dict:
    """Cross-reenactment: the portrait clips are kept in memory one frame wide, the drivers come one at a time."""
    from scripts.evaluation.cross import CrossReenactment, partners
    from scripts.evaluation.subject import EvalClip

    part = CrossReenactment(session.subject, session.judges, session.arguments.stride)
    portraits = []
    for clip in session.clips(speech=False):
        some = np.linspace(0, len(clip.frames) - 1, 8).round().astype(int)
        portraits.append(EvalClip(clip.row, clip.frames[some].copy(), clip.landmarks[some], clip.speech))
    chosen = partners([portrait.row for portrait in portraits])
    for number, driver in enumerate(session.clips(speech=False)):
        if chosen[number] < 0:
            continue
        portrait = portraits[chosen[number]]
        codes = session.codes[portrait.row["id"]]
        part.add(portrait, codes, driver, session.codes[driver.row["id"]])
        session.sheet(f"cross-{portrait.row['id']}-by-{driver.row['id']}", part.sheet)
        session.say(f"{portrait.row['id']} driven by {driver.row['id']}")
    return {"cross": part.result()} if part.rows else {}


def run_held(session: Session) -> dict:
    """Stills that speak and must stay who they are."""
    from scripts.evaluation.held import HeldStill, diverse
    from scripts.training.data import load_stills

    arguments = session.arguments
    chosen = diverse(list(load_stills(arguments.data, (arguments.split,))), arguments.faces)
    if not chosen or session.judges.verifier is None:
        return {}
    part = HeldStill(session.subject, session.judges, some_speech(session), arguments.stride)
    for row, image, points in chosen:
        part.add(row, image, points)
    session.say(f"{len(chosen)} faces held still")
    if arguments.out:
        from scripts.contact_sheet import save, sheet

        for number, (label, frames) in enumerate(part.worst(), 1):
            name = label.split()[0]
            save(sheet([(label, list(frames))]), Path(arguments.out) / f"held-worst-{number}-{name}.png")
    return {"held_still": part.result()}


def some_speech(session: Session) -> np.ndarray:
    """The first seconds of the first clip with sound: the same for every model."""
    for clip in session.clips():
        if len(clip.speech) >= HELD_SPEECH * SAMPLE_RATE:
            return clip.speech[: HELD_SPEECH * SAMPLE_RATE]
    raise InputError(f"no clip has {HELD_SPEECH} s of sound for the held-still part; leave it out with --parts")


def run_hal(session: Session) -> dict:
    """What HAL is worth and what codes give away."""
    from scripts.evaluation.hal import HalChecks

    subject, strangers = session.subject, {}
    for clip in session.clips(speech=False):
        code = subject.looks(clip.frames[:1])["appearance"][0]
        strangers[clip.row["id"]] = (clip.row["identity"], code)
    part = HalChecks(subject, session.judges, strangers, session.arguments.stride)
    for clip in session.clips(speech=False):
        part.add(clip, session.codes[clip.row["id"]])
        session.say(f"HAL on {clip.row['id']}")
    return {"hal": part.result()}


class Store:
    """Results of finished parts in OUT/parts, so that --resume goes on where an evaluation was broken off.

    settings: everything that the results depend on; results of other settings are not taken.
    """

    def __init__(self, out: str | None, settings: dict, resume: bool) -> None:
        self.folder = Path(out) / "parts" if out else None
        self.settings, self.resume = settings, resume

    def known(self, name: str) -> dict | None:
        """The result of a part from before, or None."""
        path = self.folder / f"{name}.json" if self.folder and self.resume else None
        if path is None or not path.is_file():
            return None
        stored = json.loads(path.read_text())
        if stored["settings"] != self.settings:
            progress(f"{path} was made with other settings and is made again")
            return None
        return stored["result"]

    def keep(self, name: str, result: dict) -> None:
        """Write the result of a part, whole or not at all."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f"{name}.partial"
        partial.write_text(json.dumps({"settings": self.settings, "result": result}))
        partial.replace(self.folder / f"{name}.json")
