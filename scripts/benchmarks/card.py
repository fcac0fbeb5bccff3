"""Measurements of a graphics card, part by part, gathered in one JSON file: what scripts/gpu_check.sh runs.

    python -m scripts.benchmarks.card PART --json FILE [--device cuda] [--tiny]
    python -m scripts.benchmarks.card record --json FILE --name PART --status N --seconds N --log FILE
    python -m scripts.benchmarks.card table --json FILE

PART is machine, tests, drawing, graphs, parity, jobs or stages. Each runs in a process of its own, writes its rows as
it gets them, and ends with 0, with SKIPPED where a package is missing, or with another status where it failed. `record`
notes that; `table` prints everything, and its status tells whether a part failed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

from anitalker.config import InputError
from anitalker.files import write_whole
from scripts.markdown import table

MODULES = {
    "machine": "card_drawing",
    "tests": "card_jobs",
    "drawing": "card_drawing",
    "graphs": "card_graphs",
    "parity": "card_drawing",
    "jobs": "card_jobs",
    "stages": "card_jobs",
}
SKIPPED = 3
STATUSES = {0: "done", SKIPPED: "skipped", 124: "out of time", 137: "out of time"}  # the last two are timeout's
FORMATS = {"frames_per_second": ".1f", "share_of_peak": ".1%", "gflop": ".1f", "mean": ".4f", "real_time_factor": ".3f"}


class Results:
    """Rows by part in a JSON file, which is written whole at every change.

    facts: parts (status, seconds and reason of each by name), machine, peaks, and a list of rows for each other part.
    """

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)
        self.facts: dict = json.loads(self.file.read_text()) if self.file.exists() else {"parts": {}}

    def save(self, name: str, value: object) -> None:
        """Replace one entry."""
        self.facts[name] = value
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.file, lambda path: path.write_text(json.dumps(self.facts, indent=1)))

    def add(self, name: str, row: dict) -> None:
        """Append a row to a part, and print it."""
        print(", ".join(f"{key} {shown(key, value)}" for key, value in row.items()), flush=True)
        self.save(name, [*self.facts.get(name, []), row])


def shown(key: str, value: object) -> str:
    """A value as the tables print it."""
    if isinstance(value, float):
        return format(value, FORMATS.get(key, ".2f"))
    return "" if value is None else str(value)


def record(results: Results, name: str, status: int, seconds: float, log: str) -> None:
    """Note how a part ended; of one that was not done, the last line of its log is the reason."""
    text = Path(log).read_text(errors="replace") if Path(log).is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reason = None if status == 0 or not lines else lines[-1][:300]
    entry = {"status": STATUSES.get(status, "failed"), "seconds": seconds, "reason": reason}
    results.save("parts", {**results.facts["parts"], name: entry})


def tables(facts: dict) -> str:
    """Everything as Markdown."""
    lines = [f"{key}: {value}" for key, value in facts.get("machine", {}).items()]
    for form, kinds in facts.get("peaks", {}).items():
        lines.append(f"peak {form}: " + ", ".join(f"{kind} {value / 1e3:.1f} TFLOP/s" for kind, value in kinds.items()))
    blocks = ["\n".join(lines)]
    for name, rows in facts.items():
        if not isinstance(rows, list):
            continue
        keys = list(dict.fromkeys(key for row in rows for key in row if not isinstance(row[key], dict)))
        cells = [[shown(key, row.get(key)) for key in keys] for row in rows]
        blocks.append(f"{name}\n\n" + table([key.replace("_", " ") for key in keys], cells))
    ends = [[name, end["status"], f"{end['seconds']:.0f}", end["reason"] or ""] for name, end in facts["parts"].items()]
    return "\n\n".join([*blocks, table(("part", "status", "seconds", "reason"), ends)])


def failed(facts: dict) -> bool:
    """Whether a part failed, or ran out of time, or none ran at all; a skipped one did not fail."""
    ends = [end["status"] for end in facts["parts"].values()]
    return not ends or any(status not in ("done", "skipped") for status in ends)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    results = Results(options.json)
    if options.action == "table":
        print(tables(results.facts))
        return int(failed(results.facts))
    if options.action == "record":
        record(results, options.name, options.status, options.seconds, options.log)
        return 0
    results.facts.pop(options.action, None)  # rows of an earlier run
    try:
        module = importlib.import_module(f"scripts.benchmarks.{MODULES[options.action]}")
        return getattr(module, f"measure_{options.action}")(results, options.device, options.tiny) or 0
    except ModuleNotFoundError as error:
        print(f"the package {error.name} is missing", file=sys.stderr)
        return SKIPPED
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("action", choices=(*MODULES, "record", "table"), help="a part to measure, or what to do")
    parser.add_argument("--json", required=True, metavar="FILE", help="what is known so far, and where it is written")
    parser.add_argument("--device", default="cuda", help="cuda; cpu tries the measurements without a card")
    parser.add_argument("--tiny", action="store_true", help="a frame or two of everything: does it run?")
    group = parser.add_argument_group("of record")
    group.add_argument("--name", help="of the part that has ended")
    group.add_argument("--status", type=int, default=0)
    group.add_argument("--seconds", type=float, default=0.0)
    group.add_argument("--log", default="", metavar="FILE")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
