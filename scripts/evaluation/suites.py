"""The suites of the evaluation by the names of --parts. A new one is a module with `run(session)` and a line here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from scripts.evaluation import code_accuracy, cross, hal, identity_preservation, open_mouths, reenactment, speaking
from scripts.evaluation.session import Session

SUITES: dict[str, Callable[[Session], dict]] = {  # in the order in which they run
    "reenactment": reenactment.run,
    "codes": code_accuracy.run,
    "audio": speaking.run,
    "silence": open_mouths.run,
    "cross": cross.run,
    "held": identity_preservation.run,
    "hal": hal.run,
}
OF_VIDEOS = ("reenactment", "audio")  # those that can score another system's videos


def run_suite(name: str, session: Session) -> dict:
    """A suite's share of the report, kept in OUT/parts/NAME.json; --resume takes it from there if it has the same
    settings."""
    out, settings = session.arguments.out, settings_of(session)
    path = Path(out) / "parts" / f"{name}.json" if out else None
    if path and session.arguments.resume and path.is_file():
        stored = json.loads(path.read_text())
        if stored["settings"] == settings:
            return stored["result"]
        session.progress(f"{path} was made with other settings and is made again")
    result = SUITES[name](session)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({"settings": settings, "result": result}))
        partial.replace(path)
    return result


def settings_of(session: Session) -> dict:
    """What a suite's result depends on."""
    options = {k: v for k, v in vars(session.arguments).items() if k not in ("out", "parts", "json", "resume")}
    return options | {"weights": getattr(session.model, "sha256", None)}
