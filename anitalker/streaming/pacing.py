"""Sound that arrives and frames that leave: reading, prefetching, the speed of the clock."""

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
PIECE_SAMPLES = SAMPLE_RATE // 50  # 20 ms, the piece in which `paced` hands on sound


def prefetch(items: Iterator[T], backlog: int = 4) -> Iterator[T]:
    """The same items, made by a thread of their own, which waits when `backlog` do; its faults are raised here."""
    made: Queue = Queue(backlog)
    left = Event()  # nobody takes them any more

    def put(item: T | None, fault: BaseException | None, end: bool) -> None:
        while not left.is_set():
            with contextlib.suppress(Full):
                return made.put((item, fault, end), timeout=0.1)

    def run() -> None:
        try:
            for item in items:
                put(item, None, False)
                if left.is_set():
                    return
            put(None, None, True)
        except BaseException as fault:
            put(None, fault, True)

    Thread(target=run, daemon=True).start()
    try:
        while True:
            item, fault, end = made.get()
            if fault is not None:
                raise fault
            if end:
                return
            yield item
    finally:
        left.set()


def silence(samples: int = PIECE_SAMPLES) -> np.ndarray:
    """Samples of silence, float32."""
    return np.zeros(samples, np.float32)


def read_pcm_stream(source: BinaryIO, backlog: int) -> Queue:
    """A thread that reads 16 bit PCM into a queue of float32 pieces of up to 20 ms; None at the end.

    When `backlog` pieces wait it reads no more: whoever sends has to wait too.
    """
    arrived: Queue = Queue(backlog)
    read = getattr(source, "read1", source.read)  # what is there, instead of waiting for all that was asked for

    def run() -> None:
        rest = b""
        while data := read(2 * PIECE_SAMPLES - len(rest)):
            data = rest + data
            whole = len(data) // 2 * 2
            rest = data[whole:]
            arrived.put(np.frombuffer(data[:whole], "<i2").astype(np.float32) / 32768)
        arrived.put(None)

    Thread(target=run, daemon=True).start()
    return arrived


def drain(arrived: Queue) -> Iterator[np.ndarray]:
    """What `listen` hears, as soon as it is there."""
    while (piece := arrived.get()) is not None:
        yield piece


def pace_realtime(
    arrived: Queue,
    now: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[np.ndarray]:
    """Sound at the speed of the clock: pieces float32 [PIECE] every 20 ms, silence where none has arrived.

    arrived: queue of float32 [n], n any, and None at the end. What came early waits in the queue, whose bound is the
    back-pressure; what comes late is spoken late.
    """
    begun, given, rest, open_ = now(), 0, np.zeros(0, np.float32), True
    while open_ or len(rest):
        while open_ and len(rest) < PIECE_SAMPLES:
            try:
                piece = arrived.get_nowait()
            except Empty:
                break
            open_ = piece is not None
            rest = np.concatenate([rest, piece]) if open_ else rest
        if not open_ and not len(rest):
            return  # at once: the last frames wait for this
        early = begun + given / SAMPLE_RATE - now()
        if early > 0:
            wait(early)
        head, rest = rest[:PIECE_SAMPLES], rest[PIECE_SAMPLES:]
        yield np.concatenate([head, silence(PIECE_SAMPLES - len(head))])
        given += PIECE_SAMPLES


def deadline(slack: float, now: Callable[[], float] = time.monotonic) -> Callable[[int], bool]:
    """late(k) for `StreamingTalker`: frame k is late `slack` seconds after its sound began, counted from this call."""
    begun = now()
    return lambda frame: now() - begun > frame / FPS + slack
