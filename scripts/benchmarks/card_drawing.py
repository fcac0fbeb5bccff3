"""What a card draws: frames per second by model, number format and batch, its share of the peak, and how far frames are
from the CPU's."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anitalker.benchmark import PORTRAIT, enlarge, time_frames
from anitalker.files import EXAMPLES
from anitalker.runtime.device import choose_device, peak_gpu_memory
from anitalker.runtime.machine import describe_machine
from scripts.benchmarks import ours
from scripts.benchmarks.card import Results
from scripts.benchmarks.report import DTYPES, by_turns, peaks

BATCHES = (1, 4, 16, 64)
LARGE = 1080  # shorter side in pixels
ROW_SECONDS = 1.5  # for each number
PARITY_FRAMES = {256: 8, LARGE: 2}  # by size: the CPU draws them, too
COPIED_BYTES = 2**30


def measure_machine(results: Results, device_name: str, tiny: bool) -> None:
    """The card, its best products and convolutions, and its memory's speed."""
    device = choose_device(device_name)
    facts = dict(describe_machine(device))
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {"cuda": torch.version.cuda, "card_memory_mb": properties.total_memory / 2**20}
        facts |= {"multiprocessors": properties.multi_processor_count}
    facts["copy_gb_per_second"] = copy_speed(device, COPIED_BYTES // 1024 if tiny else COPIED_BYTES)
    results.save("machine", facts)
    results.save("peaks", peaks(device, side=256 if tiny else None))


def copy_speed(device: torch.device, size: int) -> float:
    """GB/s of a copy on the device, bytes read and bytes written."""
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    times, _ = by_turns({"copy": lambda: target.copy_(source)}, 5)
    return 2 * size / times["copy"][:, 0].min() / 1e9


def measure_drawing(results: Results, device_name: str, tiny: bool) -> None:
    """Frames per second of both models by batch, and of `lite` at 1080 pixels."""
    device = choose_device(device_name)
    batches, seconds = (BATCHES[:2], 0.0) if tiny else (BATCHES, ROW_SECONDS)
    lite = ours.Lite(device)
    lite.take(example_picture())
    moved = lite.move(1.0 if tiny else 4.0)
    for form in DTYPES:
        for batch in batches:
            draw_row(results, lite, "lite", 256, moved, form, batch, seconds)
    lite.take(enlarge(example_picture(), LARGE))
    for form in DTYPES:
        draw_row(results, lite, "lite", LARGE, moved, form, None, seconds)
    original = ours.Original(device)
    original.encode()
    for form in DTYPES:
        for batch in batches:
            draw_row(results, original, "original size", 256, ours.motion(100), form, batch, seconds)


def draw_row(
    results: Results, model, name: str, size: int, moved: Tensor, form: str, batch: int | None, seconds: float
) -> None:
    """Time the drawing of motion [T,20], repeated, `batch` frames at once, and add a row.

    batch None: as many as the pipeline takes.
    """
    row = {"model": name, "size": size, "format": form, "batch": batch or "default"}

    def measure() -> dict:
        if torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats()
        gflop, first = model.gflop(moved, form), 2 * (batch or 2)
        draw = lambda count: model.frames(moved[torch.arange(count) % len(moved)], form, batch)  # noqa: E731
        list(draw(first))  # warms up
        count, rate, _ = time_frames(draw, seconds, first)
        peak = max(results.facts["peaks"][form].values()) if "peaks" in results.facts else None
        share = {"share_of_peak": gflop * rate / peak} if peak else {}
        memory = {"peak_gpu_mb": peak_gpu_memory(model.device)}
        return {"frames_per_second": rate, "frames": count, "gflop": gflop, **share, **memory}

    results.add("drawing", row | reported(measure))


def reported(measure: Callable[[], dict]) -> dict:
    """The result, or the reason why there is none: other rows are measured all the same."""
    try:
        return measure()
    except (RuntimeError, AttributeError, TypeError) as error:  # out of memory, a call that the card does not allow
        return {"reason": f"{type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else ''}"}


def example_picture() -> np.ndarray:
    """The example portrait, uint8 [256,256,3]."""
    return np.asarray(Image.open(EXAMPLES / PORTRAIT).convert("RGB"))


def measure_parity(results: Results, device_name: str, tiny: bool) -> None:
    """How far motion and frames are from the CPU's, which are float32."""
    device, cpu = choose_device(device_name), torch.device("cpu")
    here, there = ours.Lite(cpu), ours.Lite(device)
    for size, frames in PARITY_FRAMES.items():
        picture = enlarge(example_picture(), size)
        here.take(picture)
        there.take(picture, here.portrait.found[0])
        motions = [model.move(1.0 if tiny else 4.0).cpu() for model in (here, there)]
        if size == min(PARITY_FRAMES):
            results.add("parity", {"model": "lite", "what": "motion codes", **difference(*motions)})
        moved = motions[0].flip(0)[:: -(-len(motions[0]) // (1 if tiny else frames))]  # the first frame is the portrait
        add_frames(results, f"lite, {size} pixels", here, there, moved)
    first, second = ours.Original(cpu), ours.Original(device)
    for model in (first, second):
        model.encode()
    motions = [model.move(25, 2).cpu() for model in (first, second)]
    results.add("parity", {"model": "original size", "what": "motion codes", **difference(*motions)})
    add_frames(results, "original size", first, second, ours.motion(1 if tiny else 4))


def add_frames(results: Results, name: str, here, there, moved: Tensor) -> None:
    """Rows that compare frames under the same motion [T,20], in 1/255."""
    exact = np.stack(list(here.frames(moved, "float32"))).astype(int)
    for form in DTYPES:
        row = {"model": name, "what": f"{form}, 1/255", "frames": len(moved)}
        results.add("parity", row | reported(lambda form=form: difference(exact, frames_of(there, moved, form))))


def frames_of(model, moved: Tensor, form: str) -> np.ndarray:
    """All frames of a motion [T,20]: [T,H,W,3]."""
    return np.stack(list(model.frames(moved, form))).astype(int)


def difference(exact: Iterable, other: Iterable) -> dict[str, float]:
    """Largest and mean absolute difference."""
    distance = np.abs(np.asarray(exact) - np.asarray(other))
    return {"max": float(distance.max()), "mean": float(distance.mean())}
