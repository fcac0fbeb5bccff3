"""Pictures and frames between host and device: uint8 arrays on the host, float tensors in [-1,1] on the device."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anitalker.runtime.cuda_graphs import launch_lock

Send = Callable[[Tensor], tuple[Tensor, Callable[[], None]]]


def to_tensor(picture: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 [h,w,3] -> [1,3,h,w] in [-1,1]."""
    return torch.tensor(picture, device=device).permute(2, 0, 1)[None].float() / 127.5 - 1


def to_tensors(pictures: Tensor) -> Tensor:
    """uint8 [B,h,w,3] -> [B,3,h,w] in [-1,1], on the same device."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pictures(frames: Tensor) -> np.ndarray:
    """[B,3,h,w] in [-1,1] -> uint8 [B,h,w,3] on the host."""
    return to_bytes(frames).cpu().numpy()


def to_bytes(frames: Tensor) -> Tensor:
    """[B,3,h,w] in [-1,1] -> uint8 [B,h,w,3] on the same device."""
    scaled = torch.add(127.5, frames, alpha=127.5).round_().clamp_(0, 255)
    return scaled.permute(0, 2, 3, 1).to(torch.uint8, memory_format=torch.contiguous_format)


def to_host(draw: Callable[[], Tensor], device: torch.device, send: Send | None = None) -> np.ndarray:
    """The result of draw() on a device, [B,3,h,w] in [-1,1] -> uint8 [B,h,w,3] on the host.

    Equivalent to `to_pictures(draw())`. On a GPU one thread at a time launches work; while it waits for its bytes, the
    next thread launches. send: the function that copies to the host, as `copy_async`.
    """
    if device.type != "cuda":
        return to_pictures(draw())
    with launch_lock(device):
        host, wait = (send or copy_async)(to_bytes(draw()))
    wait()
    return host.numpy().copy()  # the pinned buffer is used again by the next batch


def copy_async(source: Tensor, cuda: Any = torch.cuda) -> tuple[Tensor, Callable[[], None]]:
    """Start to copy a GPU's tensor to the host on a separate stream -> pinned tensor, and a callable that waits for it.

    Equivalent to `source.cpu()` once the callable has returned. Torch reuses freed pinned memory for the next request
    of its size, so two threads alternate between two buffers.
    """
    host, stream = (
        torch.empty(source.shape, dtype=source.dtype, pin_memory=source.is_cuda),
        _copies(source.device, cuda),
    )
    stream.wait_stream(cuda.current_stream(source.device))
    with cuda.stream(stream):
        host.copy_(source, non_blocking=True)
        done = stream.record_event(cuda.Event(blocking=True))  # blocking: the waiting thread sleeps

    def wait(sent: Tensor = source) -> None:  # the default keeps `source` alive until the copy is done
        done.synchronize()

    return host, wait


@functools.cache
def _copies(device: torch.device, cuda: Any) -> torch.cuda.Stream:
    """The stream of a device's copies."""
    return cuda.Stream(device)
