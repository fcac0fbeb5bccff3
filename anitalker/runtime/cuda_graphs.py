"""CUDA graphs: the hundreds of small kernels that render a batch of frames are captured once and launched as one.

Written after torch's notes on CUDA, section "CUDA graphs". A graph keeps shapes and addresses. While it is captured,
the device must not synchronise with the host, and no other thread may launch work on it: LAUNCH_LOCK sees to that.
None of this has run on a GPU so far. If anything fails, the plain function runs and one line is logged.
ANITALKER_GRAPHS=0 switches graphs off.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)

LAUNCH_LOCK = threading.RLock()  # held by the one thread that launches rendering work on a GPU
MIN_ROWS = 2  # of a batch; single frames belong to streams, whose other threads may use the GPU at any time
WARMUP_RUNS = 3  # before a capture, as in torch's make_graphed_callables: libraries select kernels and allocate
RELATIVE_TOLERANCE = 1e-2  # of the largest value: TF32 rounds by 1e-3; a graph that read wrong memory is off by about 1

Function = Callable[..., Tensor]
Capture = Callable[[Callable[[], Tensor], torch.device], tuple[Callable[[], object], Tensor]]


def launch_lock(device: torch.device) -> AbstractContextManager:
    """The lock to hold while rendering work is launched: LAUNCH_LOCK on a GPU, none elsewhere.

    Equivalent to `contextlib.nullcontext()` where no CUDA graph is captured.
    """
    return LAUNCH_LOCK if device.type == "cuda" else nullcontext()


def as_cuda_graph(function: Function, device: torch.device) -> Function:
    """`function` as a GraphedFunction on an NVIDIA GPU; `function` itself elsewhere.

    Equivalent to `function`.
    """
    enabled = device.type == "cuda" and os.environ.get("ANITALKER_GRAPHS") != "0"
    return GraphedFunction(function, capture_graph) if enabled else function


def capture_graph(
    work: Callable[[], Tensor], device: torch.device, cuda: Any = torch.cuda
) -> tuple[Callable[[], object], Tensor]:
    """Capture what `work` launches on a GPU -> a callable that replays it, and the tensor that each replay fills."""
    with cuda.device(device):
        current, side, graph = cuda.current_stream(), cuda.Stream(), cuda.CUDAGraph()
        try:
            side.wait_stream(current)
            with cuda.stream(side):
                for _ in range(WARMUP_RUNS):
                    work()
            current.wait_stream(side)
            with cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
                output = work()
        finally:
            cuda.set_stream(current)  # a capture that fails can leave the thread on its stream
    return graph.replay, output


@dataclass(frozen=True)
class _CapturedGraph:
    """A graph with its inputs and output at fixed addresses, and the key of the calls that it serves."""

    key: tuple
    inputs: tuple[Tensor, ...]
    replay: Callable[[], object]
    output: Tensor

    def run(self, inputs: tuple[Tensor, ...]) -> Tensor:
        for buffer, value in zip(self.inputs, inputs, strict=True):
            buffer.copy_(value)
        self.replay()
        return self.output.clone()


class GraphedFunction:
    """`function` of tensors [B,...] on one GPU -> a tensor, replayed from a CUDA graph where one was captured.

    Equivalent to `function(*inputs)`. The first call runs the function. The second call in succession with the same
    shapes runs and captures it; later calls with these shapes replay the graph. The function runs for all other shapes
    (the last, smaller batch) and for less than MIN_ROWS rows. If other shapes come twice in succession, their graph
    replaces the first one.

    Results are copies that belong to the caller. Calls come from one stream (the default one) and from any thread.
    What the function reads beside its inputs must keep its address as long as this object lives. The graph holds the
    memory of one batch, so keep one object per portrait. There are no gradients.

    If a capture or a replay fails, or if the first replay differs from the function by more than RELATIVE_TOLERANCE,
    one line is logged and nothing is captured in this process again: torch may not recover the memory of an aborted
    capture. capture: the function that captures, as `capture_graph`.
    """

    enabled = True  # shared by all instances

    def __init__(self, function: Function, capture: Capture) -> None:
        self.function, self.capture = function, capture
        self.graph: _CapturedGraph | None = None
        self.previous_key: tuple = ()

    @torch.inference_mode()
    def __call__(self, *inputs: Tensor) -> Tensor:
        """Inputs [B,...] -> what `function` returns for them."""
        with LAUNCH_LOCK:
            key = _key(inputs)
            repeated, self.previous_key = key == self.previous_key, key
            if self.graph is not None and key == self.graph.key:
                try:
                    return self.graph.run(inputs)
                except Exception as error:
                    self._disable(error)
            output = self.function(*inputs)
            if self.enabled and repeated and len(inputs[0]) >= MIN_ROWS:
                try:
                    self.graph = None  # free its memory first
                    self.graph = self._checked_graph(key, inputs, output)
                except Exception as error:
                    self._disable(error)
            return output

    def _checked_graph(self, key: tuple, inputs: tuple[Tensor, ...], expected: Tensor) -> _CapturedGraph:
        """A graph whose replay agrees with the function's output."""
        device = inputs[0].device
        # Zeros: a graph that keeps the values of its capture instead of reading its inputs fails the check.
        buffers = tuple(torch.zeros_like(value) for value in inputs)
        low = torch.get_autocast_dtype(device.type)
        # Autocast frees its cache at the end of its block, but the graph would go on reading it.
        with torch.autocast(device.type, low, torch.is_autocast_enabled(device.type), cache_enabled=False):
            graph = _CapturedGraph(key, buffers, *self.capture(lambda: self.function(*buffers), device))
        replayed = graph.run(inputs).float()
        error = float((replayed - expected).abs().max() / expected.float().abs().max().clamp(min=1e-6))
        if not error <= RELATIVE_TOLERANCE:
            raise ValueError(
                f"its first frames differ by {error:.2g} of the largest value, allowed are {RELATIVE_TOLERANCE}"
            )
        return graph

    def _disable(self, error: Exception) -> None:
        GraphedFunction.enabled, self.graph = False, None
        reason = str(error).partition("\n")[0] or type(error).__name__
        log.warning("frames are rendered without a CUDA graph from here on, which takes longer: %s", reason)


def _key(inputs: tuple[Tensor, ...]) -> tuple:
    """What a graph is bound to: shapes and dtypes, and whether autocast is on."""
    kind = inputs[0].device.type
    return tuple((tensor.shape, tensor.dtype) for tensor in inputs), torch.is_autocast_enabled(kind)
