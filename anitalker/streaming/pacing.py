"""Reading arriving sound, prefetching frames, and pacing both in real time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import BinaryIO, TypeVar

import numpy as np

from anitalker.config import FPS, SAMPLE_RATE

T = TypeVar("T")
PIECE_SAMPLES = SAMPLE_RATE // 50  # 20 ms, the pieces of `pace_realtime`


def prefetch(items: Iterator[T], backlog: int = 4) -> Iterator[T]:
    """The same items, produced in a separate thread, which waits while `backlog` items are unread.

    An exception of the iterator is raised here.
    """
    queue: Queue = Queue(backlog)
    abandoned = Event()  # set when the consumer stops

    def put(item: T | None, error: BaseException | None, end: bool) -> None:
        while not abandoned.is_set():
            with contextlib.suppress(Full):
                return queue.put((item, error, end), timeout=0.1)

    def run() -> None:
        try:
            for item in items:
                put(item, None, False)
                if abandoned.is_set():
                    return
            put(None, None, True)
        except BaseException as error:
            put(None, error, True)

    Thread(target=run, daemon=True).start()
    try:
        while True:
            item, error, end = queue.get()
            if error is not None:
                raise error
            if end:
                return
            yield item
    finally:
        abandoned.set()


def silence(samples: int = PIECE_SAMPLES) -> np.ndarray:
    """Samples of silence, float32."""
    return np.zeros(samples, np.float32)


def read_pcm_stream(source: BinaryIO, backlog: int) -> Queue:
    """Read 16-bit little-endian PCM in a thread -> a queue of float32 pieces of up to 20 ms, then None.

    The thread stops reading while `backlog` pieces wait, so that the sender has to wait too.
    """
    pieces: Queue = Queue(backlog)
    read = getattr(source, "read1", source.read)  # read1 returns what is there and does not wait for more

    def run() -> None:
        remainder = b""
        while data := read(2 * PIECE_SAMPLES - len(remainder)):
            data = remainder + data
            even_length = len(data) // 2 * 2
            remainder = data[even_length:]
            pieces.put(np.frombuffer(data[:even_length], "<i2").astype(np.float32) / 32768)
        pieces.put(None)

    Thread(target=run, daemon=True).start()
    return pieces


def drain(pieces: Queue) -> Iterator[np.ndarray]:
    """The pieces of a queue such as `read_pcm_stream`'s, as soon as they arrive, up to None."""
    while (piece := pieces.get()) is not None:
        yield piece


def pace_realtime(
    pieces: Queue,
    now: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[np.ndarray]:
    """Sound in real time: pieces float32 [PIECE_SAMPLES], one every 20 ms, silence where none has arrived.

    pieces: queue of float32 [n], any n, and None at the end. Sound that came early waits in the queue, whose bound is
    the back-pressure; sound that comes late is spoken late.
    """
    start, sent, buffered, is_open = now(), 0, np.zeros(0, np.float32), True
    while is_open or len(buffered):
        while is_open and len(buffered) < PIECE_SAMPLES:
            try:
                piece = pieces.get_nowait()
            except Empty:
                break
            is_open = piece is not None
            buffered = np.concatenate([buffered, piece]) if is_open else buffered
        if not is_open and not len(buffered):
            return  # without waiting: the last frames depend on it
        early = start + sent / SAMPLE_RATE - now()
        if early > 0:
            wait(early)
        head, buffered = buffered[:PIECE_SAMPLES], buffered[PIECE_SAMPLES:]
        yield np.concatenate([head, silence(PIECE_SAMPLES - len(head))])
        sent += PIECE_SAMPLES


def deadline(slack: float, now: Callable[[], float] = time.monotonic) -> Callable[[int], bool]:
    """late(k) for `StreamingTalker`: frame k is late `slack` seconds after its sound began, counted from this call."""
    start = now()
    return lambda frame: now() - start > frame / FPS + slack
