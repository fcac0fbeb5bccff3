"""Motion -> a stream of frames: in batches, in constant memory, every face back in its picture.

Letters: B frames at once, T frames in all, M = 20 motion numbers, h x w pixels of the crop region.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from anitalker.config import CROP
from anitalker.faces.crop import Crop
from anitalker.faces.paste import paste_back
from anitalker.models.base import Model, PreparedFace
from anitalker.runtime.device import frames_at_once

T = TypeVar("T")
AHEAD = 2  # results that wait per worker
WAITING = 2**28  # bytes of finished frames in one of them


def render(
    model: Model,
    subjects: Sequence[PreparedFace],
    motions: Sequence[Tensor],
    batch_size: int | None,
    picture: np.ndarray | None,
) -> Iterator[np.ndarray]:
    """Frames, uint8 [H,W,3]: the subjects, each under its own motion [T,M], in `picture`.

    Without a picture the first subject's face crop, as the model draws it, is the frame. On a processor its cores draw
    frames of their own, ahead of whoever encodes them; on other devices frames are drawn batch by batch, by a thread of
    its own: while one batch is encoded the next ones are drawn and copied. On an NVIDIA card two such threads take
    turns: while one's batch is copied and pasted, the other's is drawn.
    """
    batch_size = frames_at_once(model.device, batch_size)

    def draw(at: int, count: int) -> Iterator[np.ndarray]:
        parts = [motion[at : at + count] for motion in motions]
        if picture is None:
            yield from model.render_frames(subjects[0], parts[0], full=False)
            return
        streams = [model.render_frames(subject, part, full=True) for subject, part in zip(subjects, parts, strict=True)]
        for moved in zip(*streams, strict=True):
            yield paste_all(picture, moved, [subject.crop for subject in subjects])

    frames, workers = len(motions[0]), min(batch_size, torch.get_num_threads())
    if model.device.type != "cpu":
        batch_size = max(1, min(batch_size, WAITING // (CROP * CROP * 3 if picture is None else picture.nbytes)))
        turns = {"workers": 2, "ahead": AHEAD // 2} if model.device.type == "cuda" else {"workers": 1}
        for batch in ordered_parallel_map(lambda at: list(draw(at, batch_size)), range(0, frames, batch_size), **turns):
            yield from batch
        return
    if frames < 2 or workers < 2:
        for at in range(0, frames, batch_size):
            yield from draw(at, batch_size)
        return
    yield from draw(0, 1)  # what is prepared once is prepared here, by one thread
    yield from ordered_parallel_map(lambda at: next(draw(at, 1)), range(1, frames), workers)


def ordered_parallel_map(
    work: Callable[[int], T], items: Iterable[int], workers: int, ahead: int = AHEAD
) -> Iterator[T]:
    """work(item) of every item in order, `workers` at once, each with one thread of its own.

    A frame's layers are too small to be shared out among cores: two frames side by side are drawn sooner than two after
    each other, each by two cores, and much sooner where other programs take a core now and then. `ahead` results per
    worker wait for whoever takes them. A result does not depend on the number of cores.
    """
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(workers, "frames", initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting: deque[Future] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > ahead * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()
            torch.set_num_threads(threads)  # a worker's choice is also what threads begin with from then on


def paste_all(picture: np.ndarray, moved: Sequence[np.ndarray], crops: Sequence[Crop]) -> np.ndarray:
    """Every patch in its place. Where crops overlap their changes add up, so that nobody is covered by a neighbour's
    still surroundings."""
    pasted = [paste_back(picture, patch, crop) for patch, crop in zip(moved, crops, strict=True)]
    if len(pasted) == 1:
        return pasted[0]
    change = sum(one.astype(np.int16) - picture for one in pasted)
    return (picture + change).clip(0, 255).astype(np.uint8)
