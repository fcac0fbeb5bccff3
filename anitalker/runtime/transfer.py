"""Pictures and frames between the host and a device: uint8 arrays here, float tensors in [-1,1] there."""

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
    """[B,3,h,w] in [-1,1] -> uint8 [B,h,w,3]."""
    return to_bytes(frames).cpu().numpy()


def to_bytes(frames: Tensor) -> Tensor:
    """The same on the frames' device."""
    whole = torch.add(127.5, frames, alpha=127.5).round_().clamp_(0, 255)
    return whole.permute(0, 2, 3, 1).to(torch.uint8, memory_format=torch.contiguous_format)


def to_host(draw: Callable[[], Tensor], device: torch.device, send: Send | None = None) -> np.ndarray:
    """What draw() makes on a device, [B,3,h,w] in [-1,1] -> uint8 [B,h,w,3].

    On a card one thread at a time launches; while it waits for its bytes, the next one does. send: as `send_aside`.
    """
    if device.type != "cuda":
        return to_pictures(draw())
    with launch_lock(device):
        host, wait = (send or copy_async)(to_bytes(draw()))
    wait()
    return host.numpy().copy()  # what is pinned is the next batch's


def copy_async(whole: Tensor, cuda: Any = torch.cuda) -> tuple[Tensor, Callable[[], None]]:
    """Start to copy a card's tensor to the host, on a stream of copies -> pinned memory, what waits until it is filled.

    Torch keeps pinned memory that is let go for the next one of its size, so two threads alternate between two buffers.
    """
    host, stream = torch.empty(whole.shape, dtype=whole.dtype, pin_memory=whole.is_cuda), _copies(whole.device, cuda)
    stream.wait_stream(cuda.current_stream(whole.device))
    with cuda.stream(stream):
        host.copy_(whole, non_blocking=True)
        done = stream.record_event(cuda.Event(blocking=True))  # blocking: the waiting thread sleeps

    def wait(sent: Tensor = whole) -> None:  # `sent` is kept until then
        done.synchronize()

    return host, wait


@functools.cache
def _copies(device: torch.device, cuda: Any) -> torch.cuda.Stream:
    return cuda.Stream(device)
