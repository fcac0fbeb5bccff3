"""Rows and ratios of the benchmark as they are measured: what --json writes, and its table."""

from __future__ import annotations

from collections.abc import Callable

from scripts.benchmarks.machine import Times, by_turns, ratio
from scripts.markdown import table


class Report:
    """facts: machine, peaks, rows, ratios; later perhaps psnr and not_run. JSON types only."""

    def __init__(self, machine: dict, peaks: dict) -> None:
        self.rows: list[dict] = []
        self.ratios: dict[str, dict] = {}
        self.facts = {"machine": machine, "peaks": peaks, "rows": self.rows, "ratios": self.ratios}

    def time(self, model: str, stage: str, form: str, rounds: int, work: Callable, unit: str, units=1.0, gflop=0.0):
        """One row: median of `rounds` runs of `work` per unit; the last result."""
        times, results = by_turns({model: work}, rounds)
        self.add(model, stage, form, times[model], unit, units, gflop)
        return results[model]

    def compare(self, stage: str, form: str, rounds: int, works: dict, unit: str, units=1.0, gflop=0.0) -> None:
        """Rows of `original` and perhaps of `reference`, taken in turn, and their ratio."""
        times, _ = by_turns(works, rounds)
        self.add("original", stage, form, times["original"], unit, units, gflop)
        if "reference" in works:
            self.add("reference", stage, "float32", times["reference"], unit, units, gflop)
            self.ratios[f"{stage} {form}"] = ratio(times["reference"], times["original"])

    def add(self, model: str, stage: str, form: str, times: Times, unit: str, units=1.0, gflop=0.0) -> None:
        """One row of times that were taken elsewhere."""
        row = {"model": model, "stage": stage, "format": form, "unit": unit, **times.facts(units)}
        if gflop:
            peak = max(self.facts["peaks"][form].values())
            row |= {"gflop": gflop, "share_of_peak": gflop / row["seconds"] / peak}
        self.rows.append(row)

    def table(self) -> str:
        """Markdown."""
        lines = [", ".join(f"{key} {value}" for key, value in self.facts["machine"].items())]
        for form, kinds in self.facts["peaks"].items():
            lines.append(f"peak {form}: " + ", ".join(f"{kind} {value:.0f} GFLOP/s" for kind, value in kinds.items()))
        formats = {"seconds": ".4f", "cpu": ".4f", "gflop": ".1f", "share_of_peak": ".0%", "peak_mb": ".0f"}
        rows = []
        for row in self.rows:
            cells = {name: format(row[name], form) if name in row else "" for name, form in formats.items()}
            seconds, processor, *rest = cells.values()
            rows.append([row["model"], row["stage"], row["format"], seconds, processor, row["unit"], *rest])
        headings = ("model", "stage", "format", "clock, s", "processor, s", "", "GFLOP", "share of peak", "peak MB")
        lines += ["", table(headings, rows)]
        if self.ratios:
            rows = [[name, *map(_spread, both.values())] for name, both in self.ratios.items()]
            lines += ["", table(("reference / ours", "clock", "processor"), rows)]
        for form, values in self.facts.get("psnr", {}).items():
            lines.append(f"\nframes in {form}: {values['median']:.1f} dB, worst {values['worst']:.1f}")
        return "\n".join([*lines, self.facts.get("not_run", "")]).rstrip()


def _spread(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.1f} ({ratio['least']:.1f} to {ratio['most']:.1f})"
