"""A face that answers: speech goes in as it arrives, frames come out by the clock with their sound, always.

Positions are samples at 16 kHz since the face began to live; frame k shows the sound from position 640 k on. Everything
that is pushed is heard, and seen, `delay` seconds after its position: so long the look-ahead of the lips and the
drawing take. Sound is read from the line by its position and never waits for a frame.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor
from dataclasses import dataclass
from queue import Empty, Full, Queue, SimpleQueue

import numpy as np
import torch
from torch import Tensor

from anitalker.config import SAMPLE_RATE, InputError, RenderOptions
from anitalker.pipeline import Portrait, Talker
from anitalker.runtime.smoothstep import smoothstep
from anitalker.streaming.features import CONTEXT_SAMPLES
from anitalker.streaming.frame_rate import FrameRate
from anitalker.streaming.live_drawing import FrameDrawer, PendingFrame, drawing_threads, thread_pool
from anitalker.streaming.live_networks import FaceNetworks, FrameFilter
from anitalker.streaming.live_processes import LiveProcesses
from anitalker.streaming.nods import Nods
from anitalker.streaming.pacing import silence
from anitalker.streaming.speech_line import SpeechLine, is_audible
from anitalker.streaming.talker import LOOKAHEAD_FRAMES, StreamingTalker
from encoders.audio import SAMPLES_PER_FRAME

JITTER_SECONDS = 0.02  # a pause in arrival that nobody hears: speech begins so much after its first piece
MAX_LIVE_BACKLOG_SECONDS = 0.03  # of a microphone's sound, of one packet and a half; beyond it silence is left out
SENT_AHEAD_SAMPLES = SAMPLE_RATE // 50  # of the voice, that a track may have sent before they are heard
MAX_WAITING_SECONDS = 300.0  # of speech; more is refused
MIN_DRAWING_SECONDS, MAX_DRAWING_SECONDS = 0.02, 0.035  # reserved for a frame, by what the machine needs for it
RESERVE = 1.3  # times the measured seconds of a frame
MAX_BEHIND_FRAMES = 25  # of speech that the networks have not seen; then they do not see it at all
REST_FRAMES = 20  # of silence before the beginning, from which the resting lips come
CLOSING_FRAMES = 3  # in which lips close after an interruption: 0.12 s
RESTING_FRAMES = 10  # in which lips come to rest in silence
MOVED = 0.05  # added to the resting motion for frames that warm the threads
OPENING_FRAMES = 2  # in which lips are given back to speech
PAUSE_SECONDS = 0.4  # of silence in which lips do not come to rest yet
HEARD_SECONDS = 0.1  # after which the other's last loud piece counts as silence
MEMORY_SECONDS = 2.0  # of sound that was heard already
MAX_UNREAD_FRAMES = 50  # of `frames`; the oldest are lost
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveFrame:
    """A frame of the time line.

    picture: uint8 [H,W,3], marked; is_drawn: False where it is the last one again; is_speaking: whether its sound is
    speech; delay: seconds from the sound's arrival to the frame.
    """

    index: int
    picture: np.ndarray
    is_drawn: bool
    is_speaking: bool
    delay: float


class LiveFace:
    """A portrait that lives on threads of its own from `start` to `close`: speaks what is pushed, idles, listens.

    One thread makes the motion, several draw, one shows the frames in order and each at its time. options: as for
    StreamingTalker; frame_filters: applied to every drawn frame (label, watermark). on_frame, on_event: called on the
    last thread with every LiveFrame, and with "turn_ended", "frame_rate", "speaking" or "idle" and a number (the frame
    rate, else 0). Without on_frame, `frames` yields. now: the clock. executor: what draws; None: threads, by the
    machine. processes: that draw for these threads. InputError for a model that cannot stream.
    """

    def __init__(
        self,
        talker: Talker,
        portrait: Portrait,
        options: RenderOptions = RenderOptions(),
        frame_filters: tuple[FrameFilter, ...] = (),
        lookahead: int = LOOKAHEAD_FRAMES,
        on_frame: Callable[[LiveFrame], None] | None = None,
        on_event: Callable[[str, int], None] = lambda name, value: None,
        now: Callable[[], float] = time.monotonic,
        executor: Executor | None = None,
        processes: LiveProcesses | None = None,
    ) -> None:
        workers = drawing_threads(talker.device)
        self.stream = StreamingTalker(talker, portrait, options, lookahead)
        self.line, self.frame_rate, self.nods = SpeechLine(), FrameRate(workers), Nods(options.seed)
        self.on_frame, self._on_event, self._now = on_frame, on_event, now
        self._networks = (processes.open if processes else FaceNetworks)(self.stream, frame_filters)
        self._unread: Queue[LiveFrame | None] = Queue(MAX_UNREAD_FRAMES)
        self._lookahead_samples = (lookahead + 1) * SAMPLES_PER_FRAME + CONTEXT_SAMPLES
        self._fed = 0  # position up to which speech was fed to the networks
        self.index = 0  # of the next frame that is begun
        self._lips = 0.0  # 0: at rest, 1: as the speech has them
        self._interrupted_until = 0  # position up to which lips close instead of speaking
        self._heard_at = float("-inf")  # when the other was last loud
        self._was_speaking = False
        self._picture: np.ndarray | None = None
        self._unshown = 0  # frames of the silence before the beginning that are still to come
        executor = executor or thread_pool(workers)
        self._rest, drawing = self._prepare(executor, workers)
        self.delay = self._lookahead_samples / SAMPLE_RATE + drawing
        self._start = now()
        self._closing, self._begun = threading.Event(), SimpleQueue[PendingFrame | None]()
        self._drawer = FrameDrawer(self._draw, self.frame_rate, executor, now)
        self._threads = [threading.Thread(target=work, name="face", daemon=True) for work in (self._run, self._show)]
        self.fault: Exception | None = None

    def _prepare(self, executor: Executor, workers: int) -> tuple[list[Tensor], float]:
        """Let the face hear silence: its resting motion [1,M] of each face, and the seconds to reserve for a frame.

        Every thread draws once, because first calls are slow.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            motions = self._networks.motion(silence(REST_FRAMES * SAMPLES_PER_FRAME))
            self._unshown = REST_FRAMES - len(motions[0])
            rest, seconds = [motion[-1:] for motion in motions], []
            moved = [motion + MOVED for motion in rest]
            for drawing in [executor.submit(self._draw, moved) for _ in range(2 * workers)]:
                drawing.result()
            for _ in range(3):
                begin = time.perf_counter()
                self._picture = self._draw(rest)
                seconds.append(RESERVE * (time.perf_counter() - begin))
        finally:
            torch.set_num_threads(threads)
        return rest, float(np.clip(min(seconds), MIN_DRAWING_SECONDS, MAX_DRAWING_SECONDS))

    @property
    def is_alive(self) -> bool:
        """Whether any of its threads runs: between `start` and `close`."""
        return any(thread.is_alive() for thread in self._threads)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of its pictures."""
        assert self._picture is not None
        return self._picture.shape[0], self._picture.shape[1]

    @property
    def position(self) -> int:
        """The position of now: what is pushed at this moment is heard `delay` seconds later."""
        return int((self._now() - self._start) * SAMPLE_RATE)

    @property
    def heard_position(self) -> int:
        """The position of the sound that is heard now; negative in the first `delay` seconds."""
        return int((self._now() - self._start - self.delay) * SAMPLE_RATE)

    @property
    def waiting_seconds(self) -> float:
        """Seconds of speech that wait to be heard."""
        return max(0.0, (self.line.end - self.heard_position) / SAMPLE_RATE)

    def push(self, samples: np.ndarray, is_live: bool = False) -> int:
        """Speak samples, float32 [N] at 16 kHz in -1..1, behind what waits already. Returns the position of the first.

        is_live: they come from a microphone; silence among them is left out where they have fallen behind. InputError
        if too much speech waits.
        """
        position = self.position
        waiting = max(0, self.line.end - position) / SAMPLE_RATE
        if waiting + len(samples) / SAMPLE_RATE > MAX_WAITING_SECONDS:
            raise InputError(f"{MAX_WAITING_SECONDS:.0f} s of speech wait already; send more later, or interrupt")
        if is_live and waiting > MAX_LIVE_BACKLOG_SECONDS and not is_audible(samples):
            return self.line.end
        return self.line.append(samples, position if waiting else position + int(JITTER_SECONDS * SAMPLE_RATE))

    def end_of_turn(self) -> None:
        """Tell `turn_ended` when everything that was pushed so far has been heard."""
        self.line.mark(self.position)

    def interrupt(self) -> None:
        """Stop speaking: what waits is dropped, the voice fades within 40 ms, the lips close in CLOSING_FRAMES."""
        self.line.cut(max(0, self.heard_position) + SENT_AHEAD_SAMPLES)
        self._interrupted_until = self.position

    def hear(self, samples: np.ndarray) -> None:
        """Listen to somebody else, samples float32 [N] at 16 kHz: the head nods a little."""
        if is_audible(samples):
            self._heard_at = self._now()

    def sound(self, frame: LiveFrame) -> np.ndarray:
        """The sound of a frame, float32 [640]."""
        return self.line.read(frame.index * SAMPLES_PER_FRAME, SAMPLES_PER_FRAME)

    def start(self) -> LiveFace:
        """Begin to live, now."""
        self._start = self._now()
        for thread in self._threads:
            thread.start()
        return self

    def close(self) -> None:
        """End; waits for the frames that are drawn at this moment."""
        self._closing.set()
        for thread in self._threads:
            if thread.is_alive() and threading.current_thread() is not thread:
                thread.join()
        self._drawer.close()
        self._networks.close()

    def __enter__(self) -> LiveFace:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def frames(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Frames uint8 [H,W,3], 25 a second by the clock, each with its sound float32 [640]; until `close`."""
        assert self.on_frame is None, "frames go to on_frame"
        while (frame := self._unread.get()) is not None:
            yield frame.picture, self.sound(frame)

    def _run(self) -> None:
        """Make motion and let frames be drawn."""
        torch.set_num_threads(1)
        try:
            while not self._closing.wait(max(0.0, self._next_time() - self._now())):
                for frame in self.begin_frames():
                    self._begun.put(frame)
        except Exception as error:
            self._fail(error)
        finally:
            self._begun.put(None)

    def _show(self) -> None:
        """Show the frames in order, each at its time."""
        try:
            while (frame := self._begun.get()) is not None and not self._closing.is_set():
                self._deliver(self.finish_frame(frame, self._closing.wait))
        except CancelledError:
            pass  # closed meanwhile
        except Exception as error:
            self._fail(error)
        finally:
            self._deliver(None)

    def _fail(self, error: Exception) -> None:
        self.fault = error
        self._closing.set()
        log.error("a live face has stopped", exc_info=error)

    def _next_time(self) -> float:
        """When the speech that the next frame needs is there."""
        needed = self.index * SAMPLES_PER_FRAME + self._lookahead_samples
        return self._start + (needed + 1) / SAMPLE_RATE

    def _deliver(self, frame: LiveFrame | None) -> None:
        if self.on_frame is not None:
            if frame is not None:
                self.on_frame(frame)
            return
        while True:
            try:
                return self._unread.put_nowait(frame)
            except Full:
                try:
                    self._unread.get_nowait()
                except Empty:
                    continue

    def begin_frames(self) -> Iterator[PendingFrame]:
        """Begin the frames for which the speech is there."""
        begin, position = self._now(), self.position
        behind = (position - self._fed) // SAMPLES_PER_FRAME
        if behind > MAX_BEHIND_FRAMES:  # the machine stood still, or is far too slow
            self._fed += behind * SAMPLES_PER_FRAME
            for _ in range(behind):
                yield self._begin_frame(None, 0.0, False)
        if position <= self._fed:
            return
        motions = self._networks.motion(self.line.read(self._fed, position - self._fed))
        self._fed, count = position, len(motions[0])
        first = min(self._unshown, count)
        self._unshown -= first
        motion_seconds = self._now() - begin
        for k in range(first, count):
            yield self._begin_frame([motion[k : k + 1] for motion in motions], motion_seconds, k == count - 1)
            motion_seconds = 0.0

    def _begin_frame(self, motions: list[Tensor] | None, motion_seconds: float, is_newest: bool) -> PendingFrame:
        """Begin the next frame, from a row of motion per face; None: nobody knows it, the last one is shown."""
        index, at = self.index, self.index * SAMPLES_PER_FRAME
        due = self._start + at / SAMPLE_RATE + self.delay
        shaped = None if motions is None else self._shape(motions, at)
        self.index += 1
        return self._drawer.begin(index, at, due, shaped, motion_seconds, is_newest)

    def finish_frame(self, frame: PendingFrame, wait: Callable[[float], object] = time.sleep) -> LiveFrame:
        """A frame at its time, for which `wait` waits; frames are finished in the order in which they were begun."""
        at = frame.at
        is_speaking = self.line.is_audible(at, at + SAMPLES_PER_FRAME)
        picture, rate_changed = self._drawer.finish(frame)
        if picture is not None:
            self._picture = picture
        if rate_changed:
            self._on_event("frame_rate", self.frame_rate.rate)
        if (early := frame.due - self._now()) > 0:
            wait(early)
        self._tell(at)
        assert self._picture is not None
        delay = self._now() - self._start - at / SAMPLE_RATE
        return LiveFrame(frame.index, self._picture, picture is not None, is_speaking, delay)

    def _tell(self, at: int) -> None:
        """Events of the frame at a position, and the end of what nobody needs any more. Short pauses are speech."""
        is_interrupted = at < self._interrupted_until
        begin = at if is_interrupted else max(at - int(PAUSE_SECONDS * SAMPLE_RATE), self._interrupted_until)
        is_speaking = self.line.is_audible(begin, at + SAMPLES_PER_FRAME)
        if is_speaking != self._was_speaking:
            self._was_speaking = is_speaking
            self._on_event("speaking" if is_speaking else "idle", 0)
        for _ in range(self.line.passed_marks(at)):
            self._on_event("turn_ended", 0)
        self.line.forget(at - int(MEMORY_SECONDS * SAMPLE_RATE))

    def _shape(self, motions: list[Tensor], at: int) -> list[Tensor]:
        """Motion [1,M] of each face with lips that rest in silence and close when interrupted, and with nods."""
        nod = self.nods(self._now() - self._heard_at < HEARD_SECONDS)
        pause, ahead = int(PAUSE_SECONDS * SAMPLE_RATE), self._lookahead_samples
        if at < self._interrupted_until:
            step = -1 / CLOSING_FRAMES
        elif self.line.is_audible(max(at - pause, self._interrupted_until), at + ahead):
            step = 1 / OPENING_FRAMES
        else:
            step = -1 / RESTING_FRAMES
        self._lips = min(1.0, max(0.0, self._lips + step))
        lips = RenderOptions(lips=float(smoothstep(np.asarray(self._lips))))
        shaped = []
        for motion, rest in zip(motions, self._rest, strict=True):
            motion = self.stream.model.scale_motion(motion, rest, lips)
            if nod:
                motion = motion.clone()
                motion[:, 1] += nod  # positive pitch is down
            shaped.append(motion)
        return shaped

    def _draw(self, motions: list[Tensor]) -> np.ndarray:
        return self._networks.draw(motions)
