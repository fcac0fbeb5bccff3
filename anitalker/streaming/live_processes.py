"""Processes that make the motion of live faces and draw their frames, because threads would wait for one another.

A frame has two thousand short calls from Python. Threads take turns at them; processes do not, and the one that listens
and sends is left alone. Every process holds the model, and what it has to know of the faces that are open.
"""

from __future__ import annotations

import itertools
import multiprocessing
import pickle
import queue
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from anitalker.config import RenderOptions
from anitalker.pipeline import Portrait, Talker
from anitalker.streaming.live_drawing import drawing_threads
from anitalker.streaming.live_networks import FrameFilter, PortraitDrawing
from anitalker.streaming.talker import StreamingTalker

CLOSING_SECONDS = 5.0  # that a process may take to end


class _Work(Protocol):
    """What a process does for one face; travels there once."""

    def begin(self, talker: Talker) -> Callable[[Any], Any]:
        """Return the function that answers each request, an array or a list of them, by the same."""
        ...


@dataclass(frozen=True)
class _Motion:
    portrait: Portrait
    options: RenderOptions
    lookahead: int

    def begin(self, talker: Talker) -> Callable[[np.ndarray], list[np.ndarray]]:
        stream = StreamingTalker(talker, self.portrait, self.options, self.lookahead)
        return lambda samples: [motion.numpy() for motion in stream.motion(samples)]


@dataclass(frozen=True)
class _Drawing:
    portrait: Portrait
    options: RenderOptions
    filters: tuple[FrameFilter, ...]

    def begin(self, talker: Talker) -> Callable[[list[np.ndarray]], np.ndarray]:
        draw = PortraitDrawing(talker, self.portrait, self.options, self.filters)
        return lambda motions: draw([torch.from_numpy(motion) for motion in motions])


def default_count(device: torch.device) -> int:
    """How many processes draw for a server: one per core, up to the number of one face's threads; none beside a GPU."""
    return drawing_threads(device) if device.type == "cpu" else 0


class LiveProcesses:
    """`count` processes that draw for all live faces of a talker on the CPU, and half as many that make the motion.

    They start with the first face, or with `start`. A process that has died is replaced, and faces go on; where
    the new one dies of the same request, the face ends with RuntimeError.
    """

    def __init__(self, talker: Talker, count: int) -> None:
        talker = Talker(talker.model)  # without what it has loaded to find faces
        self._numbers, self._open = itertools.count(), set[int]()
        self._drawing = [_Process(talker) for _ in range(count)]
        self._motion = [_Process(talker) for _ in range((count + 1) // 2)]
        self._idle: queue.LifoQueue[_Process] = queue.LifoQueue()  # of `_drawing`; the last one's caches are warm
        for process in self._drawing:
            self._idle.put(process)

    def start(self) -> None:
        """Start them, and wait until they have begun to load."""
        processes = self._drawing + self._motion
        with ThreadPoolExecutor(len(processes)) as threads:
            list(threads.map(_Process.start, processes))

    def open(self, stream: StreamingTalker, filters: tuple[FrameFilter, ...]) -> RemoteNetworks:
        """Do for a face what FaceNetworks does, until `close`."""
        self.start()  # all at once
        portrait, options = stream.portrait, stream.options
        number = self._begin()
        motion = _Remote(self, number, pickle.dumps(_Motion(portrait, options, stream.lookahead)))
        drawing = _Remote(self, self._begin(), pickle.dumps(_Drawing(portrait, options, filters)))
        return RemoteNetworks(motion, drawing, self._motion[number // 2 % len(self._motion)], self._idle)

    def _begin(self) -> int:
        number = next(self._numbers)
        self._open.add(number)
        return number

    def close(self) -> None:
        """End all processes."""
        for process in self._drawing + self._motion:
            process.close()


@dataclass(frozen=True)
class _Remote:
    """A face's work on other processes. number: of this work; content: what begins it, a pickled _Work."""

    processes: LiveProcesses
    number: int
    content: bytes

    def ask(self, process: _Process, request: Any) -> Any:
        return process.ask(self.number, self.content, request, frozenset(self.processes._open))

    def close(self) -> None:
        self.processes._open.discard(self.number)


class RemoteNetworks:
    """FaceNetworks on other processes. RuntimeError where two of them die of the same request."""

    def __init__(self, motion: _Remote, drawing: _Remote, maker: _Process, idle: queue.LifoQueue[_Process]) -> None:
        self._motion, self._drawing, self._maker, self._idle = motion, drawing, maker, idle

    def motion(self, samples: np.ndarray) -> list[Tensor]:
        """Samples float32 [n] at 16 kHz -> motion [t,M] of each face, on the process that knows what came before."""
        return [torch.from_numpy(motion) for motion in self._motion.ask(self._maker, samples)]

    def draw(self, motions: list[Tensor]) -> np.ndarray:
        """Motion [1,M] of each face -> uint8 [H,W,3], on the next process that is free; from any thread."""
        process = self._idle.get()
        try:
            return self._drawing.ask(process, [motion.numpy() for motion in motions])
        finally:
            self._idle.put(process)

    def close(self) -> None:
        """Ask no more; the processes drop the face with their next request."""
        self._motion.close()
        self._drawing.close()

    def __del__(self) -> None:
        self.close()  # a face whose client left while it was made is never closed


@dataclass
class _Process:
    """One process, or the place of one that has not started; held: numbers of the work that it holds."""

    talker: Talker
    process: BaseProcess | None = None
    connection: Connection | None = None
    held: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Start it unless it runs."""
        with self.lock:
            self._start()

    def ask(self, number: int, content: bytes, request: Any, opened: frozenset[int]) -> Any:
        """Return the answer of the work of that number; a fault there is raised here."""
        with self.lock:
            try:
                answer = self._exchange(number, content, request, opened)
            except (EOFError, OSError):
                self._end()
                try:
                    answer = self._exchange(number, content, request, opened)
                except (EOFError, OSError):
                    self._end()
                    raise RuntimeError("a process of live faces ended twice at the same request") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _exchange(self, number: int, content: bytes, request: Any, opened: frozenset[int]) -> Any:
        connection = self._start()
        begin = None if number in self.held else content
        self.held = (self.held & opened) | {number}
        connection.send((number, begin, request, self.held))
        return connection.recv()

    def _start(self) -> Connection:
        if self.process is None or self.connection is None or not self.process.is_alive():
            context = multiprocessing.get_context("spawn")  # a fork of a process that runs torch may hang
            self.connection, other_end = context.Pipe()
            self.process = context.Process(target=serve, args=(other_end,), name="live-face", daemon=True)
            self.process.start()
            other_end.close()
            self.held.clear()
            # Pickled here: `send` would put every tensor into a file of shared memory.
            self.connection.send_bytes(pickle.dumps(self.talker))
        return self.connection

    def close(self) -> None:
        """End it."""
        with self.lock:
            self._end()

    def _end(self) -> None:
        if self.process is None or self.connection is None:
            return
        self.connection.close()
        self.process.join(CLOSING_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process = self.connection = None


def serve(connection: Connection) -> None:
    """Answer requests until the other end closes, or its process ends. Runs in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    torch.set_num_threads(1)
    functions: dict[int, Callable[[Any], Any]] = {}
    try:
        talker = pickle.loads(connection.recv_bytes())
        while True:
            number, begin, request, held = connection.recv()
            for closed in functions.keys() - held:
                del functions[closed]
            try:
                if begin is not None:
                    functions[number] = pickle.loads(begin).begin(talker)
                answer = functions[number](request)
            except Exception as error:
                answer = error
            connection.send(answer)
    except (EOFError, OSError):
        return
