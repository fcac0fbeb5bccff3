"""CUDA graphs: the hundreds of small steps that a batch of frames takes on a card, recorded once, launched as one.

After torch's notes on CUDA, section "CUDA graphs": a recording keeps shapes and addresses, the card says nothing to the
host meanwhile, and no other thread has work for it, for which LAUNCHING stands. Never run on a card so far: anything
that goes wrong ends in the plain function and one line in the log. ANITALKER_GRAPHS=0 leaves recordings away.
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

LAUNCHING = threading.RLock()  # held by the one thread that gives a card work for frames
LEAST = 2  # rows of a batch; single frames belong to streams, whose other threads use the card at any time
ROUNDS = 3  # on the recording's stream before it, as torch's own make_graphed_callables: libraries choose and allocate
TOLERANCE = 1e-2  # of the largest value: TF32 rounds by 1e-3, a graph that read something else is off by about 1

Function = Callable[..., Tensor]
Record = Callable[[Callable[[], Tensor], torch.device], tuple[Callable[[], object], Tensor]]


def launch_lock(device: torch.device) -> AbstractContextManager:
    """Held while work for frames is launched: LAUNCHING on a card, nothing elsewhere."""
    return LAUNCHING if device.type == "cuda" else nullcontext()


def as_cuda_graph(function: Function, device: torch.device) -> Function:
    """`function` as `Graphed` on an NVIDIA card, itself elsewhere."""
    wanted = device.type == "cuda" and os.environ.get("ANITALKER_GRAPHS") != "0"
    return GraphedFunction(function, record) if wanted else function


def record(
    work: Callable[[], Tensor], device: torch.device, cuda: Any = torch.cuda
) -> tuple[Callable[[], object], Tensor]:
    """Record what `work` launches on a card -> what launches it again, and the tensor that it fills each time."""
    with cuda.device(device):
        here, aside, graph = cuda.current_stream(), cuda.Stream(), cuda.CUDAGraph()
        try:
            aside.wait_stream(here)
            with cuda.stream(aside):
                for _ in range(ROUNDS):
                    work()
            here.wait_stream(aside)
            with cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
                output = work()
        finally:
            cuda.set_stream(here)  # a recording that fails can leave the thread on its stream
    return graph.replay, output


@dataclass(frozen=True)
class _Recorded:
    """Inputs and output at fixed addresses, what launches the recording, and what it was made for."""

    key: tuple
    inputs: tuple[Tensor, ...]
    replay: Callable[[], object]
    output: Tensor

    def run(self, inputs: tuple[Tensor, ...]) -> Tensor:
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.replay()
        return self.output.clone()


class GraphedFunction:
    """`function` of tensors [B,...] on one card -> a tensor, from a recording where there is one.

    The first call runs the function as it is. The second in succession with the same shapes runs and records it;
    calls with these shapes replay from then on. All else runs the function: other shapes (the last, smaller batch)
    and less than LEAST rows. Where other shapes come twice in succession they take the recording's place.

    Results are copies, the caller's own. Calls come from one stream (the default), from any thread. What the function
    reads beside its inputs must stay where it is as long as this object lives, and so long the card keeps the memory
    of one batch for it: keep it with one portrait. No gradients.

    One line in the log and never again a recording in this process, of whatever function, if recording or replaying
    fails, or if the first replay differs by more than TOLERANCE from what the function says: torch may not get back the
    memory of a recording that broke off. record: as the function of this name.
    """

    able = True  # of all of them

    def __init__(self, function: Function, record: Record) -> None:
        self.function, self.record = function, record
        self.recorded: _Recorded | None = None
        self.before: tuple = ()

    @torch.inference_mode()
    def __call__(self, *inputs: Tensor) -> Tensor:
        with LAUNCHING:
            key = _key(inputs)
            again, self.before = key == self.before, key
            if self.recorded is not None and key == self.recorded.key:
                try:
                    return self.recorded.run(inputs)
                except Exception as error:
                    self._give_up(error)
            made = self.function(*inputs)
            if self.able and again and len(inputs[0]) >= LEAST:
                try:
                    self.recorded = None  # its memory goes first
                    self.recorded = self._checked(key, inputs, made)
                except Exception as error:
                    self._give_up(error)
            return made

    def _checked(self, key: tuple, inputs: tuple[Tensor, ...], wanted: Tensor) -> _Recorded:
        """A recording whose replay says what the function said."""
        device = inputs[0].device
        # Zeros: a recording that keeps what it was made with, instead of what it is given, is found out.
        own = tuple(torch.zeros_like(one) for one in inputs)
        low = torch.get_autocast_dtype(device.type)
        # What autocast caches it frees when its block ends: the recording would go on reading it.
        with torch.autocast(device.type, low, torch.is_autocast_enabled(device.type), cache_enabled=False):
            recorded = _Recorded(key, own, *self.record(lambda: self.function(*own), device))
        made = recorded.run(inputs).float()
        apart = float((made - wanted).abs().max() / wanted.float().abs().max().clamp(min=1e-6))
        if not apart <= TOLERANCE:
            raise ValueError(f"its first frames differ by {apart:.2g} of the largest value, allowed are {TOLERANCE}")
        return recorded

    def _give_up(self, error: Exception) -> None:
        GraphedFunction.able, self.recorded = False, None
        words = str(error).partition("\n")[0] or type(error).__name__
        log.warning("frames are drawn without a CUDA graph from here on, which takes longer: %s", words)


def _key(inputs: tuple[Tensor, ...]) -> tuple:
    """What a recording is bound to: shapes and formats, and whether autocast is on."""
    kind = inputs[0].device.type
    return tuple((one.shape, one.dtype) for one in inputs), torch.is_autocast_enabled(kind)
