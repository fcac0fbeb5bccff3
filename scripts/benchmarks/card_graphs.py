"""Would CUDA graphs gain? Networks by single calls and as a recorded graph, and how busy the card is while frames are
drawn.

The pipeline records no graphs. What it does between the networks (eyelids, radial basis) reads numbers back to the
host, which a graph does not allow, so the networks are recorded alone. A card that is seldom busy while frames are
drawn waits for the host: then graphs, larger batches or fewer, larger kernels gain.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.profiler import ProfilerActivity, profile

from anitalker.models.lite import Lite as LiteModel
from anitalker.models.lite import LiteFace
from anitalker.runtime.device import choose_device
from scripts.benchmarks import ours
from scripts.benchmarks.card import Results
from scripts.benchmarks.card_drawing import example_picture, reported
from scripts.benchmarks.report import DTYPES, wait

BATCHES = (1, 4, 16)
WARM_UP, CALLS = 3, 50


def measure_graphs(results: Results, device_name: str, tiny: bool) -> None:
    """Networks with and without a graph, by batch, then the share of time in which the card works."""
    device, batches = choose_device(device_name), BATCHES[:1] if tiny else BATCHES
    calls = 2 if tiny else CALLS
    lite, original = ours.Lite(device), ours.Original(device)
    lite.take(example_picture())
    moved = {"lite": lite.move(1.0 if tiny else 4.0), "original size": ours.motion(100)}
    original.encode()
    for form in DTYPES:
        for batch in batches:
            rows = moved["lite"][-batch:].to(device)
            for name in ("U-Net of lite", "mouth of lite"):
                row = {"network": name, "format": form, "batch": batch}
                results.add("graphs", row | reported(lambda f=form, r=rows, n=name: of_lite(lite, f, r, n, calls)))
            subject, rows = original.subject(form), moved["original size"][:batch].to(device)
            work = lambda s=subject, r=rows: s.draw(r)  # noqa: E731
            row = {"network": "decoder of the original's size", "format": form, "batch": batch}
            results.add("graphs", row | reported(lambda w=work: compare(w, device, calls)))
    for name, model in (("lite", lite), ("original size", original)):
        for batch in batches:
            draw = lambda m=model, n=name, b=batch: list(m.frames(moved[n][: 4 * b], "bfloat16", b))  # noqa: E731
            row = {"network": f"whole frames of {name}", "format": "bfloat16", "batch": batch}
            results.add("graphs", row | reported(lambda d=draw: {"busy": busy_share(d, device)}))


def of_lite(lite: ours.Lite, form: str, rows: Tensor, name: str, calls: int) -> dict:
    """`compare` of a network inside `lite`, on the arguments that drawing motion [B,20] gives it."""
    model, face = cast("LiteModel", lite.talker.model), cast("LiteFace", lite.portrait.faces[0])
    ours.draw_in(form)
    kind, method = (type(model.decoder), "_network") if name.startswith("U-Net") else (type(model.mouth), "forward")
    arguments: list[tuple] = []
    network = getattr(kind, method)

    def listening(self: nn.Module, *given: object) -> object:
        arguments.append((self, *given))
        return network(self, *given)

    with mock.patch.object(kind, method, listening):
        list(model.render_patches(face, rows))
    given, capturable = arguments[-1], Capturable()
    autocast = form == "bfloat16"

    def work() -> object:
        with torch.inference_mode(), torch.autocast(lite.device.type, torch.bfloat16, enabled=autocast), capturable:
            return network(*given)

    return compare(work, lite.device, calls)


class Capturable(TorchFunctionMode):
    """Replaces what a recording forbids: lists of indices lie on the device, and linear systems are solved without a
    report to the host. Results are the same."""

    def __init__(self) -> None:
        super().__init__()
        self.indices: dict[tuple, Tensor] = {}

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is Tensor.__getitem__:
            return function(args[0], self._on_device(args[1], args[0].device))
        if function is torch.linalg.solve:
            return torch.linalg.solve_ex(*args, **(kwargs or {}))[0]
        return function(*args, **(kwargs or {}))

    def _on_device(self, index: object, device: torch.device) -> object:
        if isinstance(index, tuple):
            return tuple(self._on_device(entry, device) for entry in index)
        if not isinstance(index, list):
            return index
        key = (*index, device)
        if key not in self.indices:
            self.indices[key] = torch.tensor(index, device=device)
        return self.indices[key]


def compare(work: Callable[[], object], device: torch.device, calls: int) -> dict[str, float]:
    """Milliseconds of `work` by single calls and as a graph, which is recorded once; without a card both are calls."""
    single = milliseconds(work, calls)
    replay = work
    if device.type == "cuda":
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream), torch.inference_mode():
            for _ in range(WARM_UP):
                work()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph):
            work()
        replay = graph.replay
    recorded = milliseconds(replay, calls)
    torch.backends.cudnn.benchmark = True  # cuDNN tries its algorithms and keeps the quickest
    try:
        chosen = milliseconds(work, calls)
    finally:
        torch.backends.cudnn.benchmark = False
    return {"ms": single, "ms_graph": recorded, "gain": single / recorded, "ms_cudnn_benchmark": chosen}


@torch.inference_mode()
def milliseconds(work: Callable[[], object], calls: int) -> float:
    """Mean time of a call, after some that warm up."""
    for _ in range(WARM_UP):
        work()
    wait()
    start = time.perf_counter()
    for _ in range(calls):
        work()
    wait()
    return (time.perf_counter() - start) / calls * 1e3


def busy_share(work: Callable[[], object], device: torch.device) -> float:
    """Time of all kernels over time by the clock; on a CPU, which the profiler sees by operations, of those."""
    on_card = device.type == "cuda"
    work()
    wait()
    start = time.perf_counter()
    work()
    wait()
    seconds = time.perf_counter() - start  # without the profiler, which takes time itself
    kinds = [ProfilerActivity.CUDA if on_card else ProfilerActivity.CPU]
    with profile(activities=kinds, acc_events=True) as seen:
        work()
        wait()
    times = [event.self_device_time_total if on_card else event.self_cpu_time_total for event in seen.key_averages()]
    return sum(times) / 1e6 / seconds
