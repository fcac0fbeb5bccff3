"""A stopwatch, the best speed of the machine, rows and ratios: what --json of the benchmark writes, and its table."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch

from scripts.markdown import table

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
FORMATS = {"seconds": ".4f", "cpu": ".4f", "unit": "", "gflop": ".1f", "share_of_peak": ".0%", "peak_mb": ".0f"}
HEADINGS = ("model", "stage", "format", "clock, s", "processor, s", "", "GFLOP", "share of peak", "peak MB")


def by_turns(works: dict[str, Callable[[], object]], rounds: int) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Run each work once a round, one after the other -> seconds by the clock and of the processor [rounds,2], and last
    results, by name."""
    times, results = {name: [] for name in works}, {}
    for _ in range(rounds):
        for name, work in works.items():
            wait()
            clock, processor = time.perf_counter(), time.process_time()
            results[name] = work()
            wait()
            times[name].append((time.perf_counter() - clock, time.process_time() - processor))
    return {name: np.array(values) for name, values in times.items()}, results


def wait() -> None:
    """Let a card finish what it was told: its calls return before."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def ratio(theirs: np.ndarray, ours: np.ndarray, share: float = 1.0) -> dict[str, dict[str, float]]:
    """How many times faster: median, least and most over the rounds, by the clock and in processor time.

    share: of the job that ours did, what theirs did.
    """
    values = theirs / ours / share
    statistics = {"median": np.median(values, 0), "least": values.min(0), "most": values.max(0)}
    return {kind: {name: float(v[n]) for name, v in statistics.items()} for n, kind in enumerate(("clock", "cpu"))}


@torch.inference_mode()
def peaks(device: torch.device, rounds: int = 5, side: int | None = None) -> dict[str, dict[str, float]]:
    """GFLOP/s of a large product and of a wide 3x3 convolution, the best of `rounds`: format -> both.

    side: of the product's matrices; None: as large as fills the device.
    """
    torch.backends.cudnn.allow_tf32 = False  # as `pipeline.load` does
    side = side or (8192 if device.type == "cuda" else 1536)
    batch = max(1, side // 128 if device.type == "cuda" else 1)
    speeds: dict[str, dict[str, float]] = {}
    for name, dtype in DTYPES.items():
        a = torch.randn(side, side, device=device, dtype=dtype)
        x = torch.randn(batch, 256, 64, 64, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
        w = torch.randn(256, 256, 3, 3, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
        work = {"product": lambda a=a: a @ a, "convolution": lambda x=x, w=w: torch.conv2d(x, w, padding=1)}
        flop = {"product": 2 * side**3, "convolution": 2 * batch * 64**2 * 256**2 * 9}
        times, _ = by_turns(work, rounds)
        speeds[name] = {kind: flop[kind] / seconds[:, 0].min() / 1e9 for kind, seconds in times.items()}
    return speeds


class Report:
    """facts: machine, peaks, rows, ratios; later perhaps psnr and not_run. JSON types only."""

    def __init__(self, machine: Mapping[str, object], peaks: dict) -> None:
        self.rows: list[dict] = []
        self.ratios: dict[str, dict] = {}
        self.facts = {"machine": dict(machine), "peaks": peaks, "rows": self.rows, "ratios": self.ratios}

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

    def add(self, model: str, stage: str, form: str, times: np.ndarray, unit: str, units=1.0, gflop=0.0) -> None:
        """One row of times [rounds,2] that were taken elsewhere."""
        seconds, cpu = (np.median(times, 0) / units).tolist()
        row = {"model": model, "stage": stage, "format": form, "unit": unit, "seconds": seconds, "cpu": cpu}
        if gflop:
            peak = max(self.facts["peaks"][form].values())
            row |= {"gflop": gflop, "share_of_peak": gflop / seconds / peak}
        self.rows.append(row)

    def table(self) -> str:
        """Markdown."""
        blocks = [", ".join(f"{key} {value}" for key, value in self.facts["machine"].items())]
        for form, kinds in self.facts["peaks"].items():
            blocks.append(f"peak {form}: " + ", ".join(f"{kind} {value:.0f} GFLOP/s" for kind, value in kinds.items()))
        rows = []
        for row in self.rows:
            cells = [format(row[name], form) if name in row else "" for name, form in FORMATS.items()]
            rows.append([row["model"], row["stage"], row["format"], *cells])
        blocks.append(table(HEADINGS, rows))
        if self.ratios:
            rows = [
                [name, *("{median:.1f} ({least:.1f} to {most:.1f})".format(**spread) for spread in both.values())]
                for name, both in self.ratios.items()
            ]
            blocks.append(table(("reference / ours", "clock", "processor"), rows))
        for form, values in self.facts.get("psnr", {}).items():
            blocks.append(f"frames in {form}: {values['median']:.1f} dB, worst {values['worst']:.1f}")
        return "\n\n".join([*blocks, *filter(None, [self.facts.get("not_run")])])
