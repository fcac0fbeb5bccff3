"""A face that answers: speech goes in as it arrives, frames come out by the clock with their sound, always.

Positions are samples at 16 kHz since the face began to live; frame k shows the sound from position 640 k on. Everything
that is pushed is heard, and seen, `delay` seconds after its position: so long the look-ahead of the lips and the
drawing take. Sound is read from the line by its position and never waits for a frame.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from queue import Empty, Full, Queue

import numpy as np
import torch
from torch import Tensor

from anitalker.config import SAMPLE_RATE, InputError, RenderOptions
from anitalker.pipeline import Portrait, Talker
from anitalker.runtime.smoothstep import smoothstep
from anitalker.streaming.features import CONTEXT_SAMPLES
from anitalker.streaming.frame_rate import FrameRate
from anitalker.streaming.nods import Nods
from anitalker.streaming.pacing import silence
from anitalker.streaming.speech_line import SpeechLine, is_audible
from anitalker.streaming.talker import LOOKAHEAD_FRAMES, StreamingTalker
from encoders.audio import SAMPLES_PER_FRAME

JITTER_SECONDS = 0.02  # a pause in arrival that nobody hears: speech begins so much after its first piece
MAX_LIVE_BACKLOG_SECONDS = 0.04  # of a microphone's sound, twice a packet; beyond it silence is left out
SENT_AHEAD_SAMPLES = SAMPLE_RATE // 50  # of the voice, that a track may have sent before they are heard
MAX_WAITING_SECONDS = 300.0  # of speech; more is refused
MIN_DRAWING_SECONDS, MAX_DRAWING_SECONDS = 0.02, 0.04  # reserved for a frame, by what the machine needs for it
RESERVE = 1.3  # times the measured seconds of a frame
LATE_SECONDS = 0.04  # after which a frame is not drawn any more
MAX_UNDRAWN_FRAMES = 5  # in a row; then the newest is drawn, late or not
MAX_BEHIND_FRAMES = 25  # of speech that the networks have not seen; then they do not see it at all
REST_FRAMES = 20  # of silence before the beginning, from which the resting lips come
CLOSING_FRAMES = 3  # in which lips close after an interruption: 0.12 s
RESTING_FRAMES = 10  # in which lips come to rest in silence
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
    """A portrait that lives on a thread of its own from `start` to `close`: speaks what is pushed, idles, listens.

    options: as for StreamingTalker; frame_filters: applied to every drawn frame (label, watermark). on_frame, on_event:
    called on the thread with every LiveFrame, and with "turn_ended", "frame_rate", "speaking" or "idle" and a number
    (the frame rate, else 0). now, wait: the clock. Without on_frame, `frames` yields. InputError for a model that
    cannot stream.
    """

    def __init__(
        self,
        talker: Talker,
        portrait: Portrait,
        options: RenderOptions = RenderOptions(),
        frame_filters: tuple[Callable[[np.ndarray], np.ndarray], ...] = (),
        lookahead: int = LOOKAHEAD_FRAMES,
        on_frame: Callable[[LiveFrame], None] | None = None,
        on_event: Callable[[str, int], None] = lambda name, value: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stream = StreamingTalker(talker, portrait, options, lookahead)
        self.line, self.frame_rate, self.nods = SpeechLine(), FrameRate(), Nods(options.seed)
        self.on_frame, self._filters, self._on_event, self._now = on_frame, frame_filters, on_event, now
        self._unread: Queue[LiveFrame | None] = Queue(MAX_UNREAD_FRAMES)
        self._lookahead_samples = (lookahead + 1) * SAMPLES_PER_FRAME + CONTEXT_SAMPLES
        self._ready: deque[list[Tensor]] = deque()  # motion of frames that are not delivered
        self._fed = 0  # position up to which speech was fed to the networks
        self.index = 0  # of the next frame
        self._undrawn = 0  # frames since the last one that was drawn
        self._lips = 0.0  # 0: at rest, 1: as the speech has them
        self._interrupted_until = 0  # position up to which lips close instead of speaking
        self._heard_at = float("-inf")  # when the other was last loud
        self._was_speaking = False
        self._picture: np.ndarray | None = None
        self._unshown = 0  # frames of the silence before the beginning that are still to come
        self._rest, drawing = self._prepare()
        self.delay = self._lookahead_samples / SAMPLE_RATE + drawing
        self._start = now()
        self._closing, self._thread = threading.Event(), threading.Thread(target=self._run, name="face", daemon=True)
        self.fault: Exception | None = None

    def _prepare(self) -> tuple[list[Tensor], float]:
        """Let the face hear silence: its resting motion [1,M] of each face, and the seconds to reserve for a frame."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            motions = self.stream.motion(silence(REST_FRAMES * SAMPLES_PER_FRAME))
            self._unshown = REST_FRAMES - len(motions[0])
            rest, seconds = [motion[-1:] for motion in motions], []
            for _ in range(3):
                begin = time.perf_counter()
                self._picture = self._draw(rest)
                seconds.append(RESERVE * (time.perf_counter() - begin))
        finally:
            torch.set_num_threads(threads)
        return rest, float(np.clip(min(seconds), MIN_DRAWING_SECONDS, MAX_DRAWING_SECONDS))

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
        self._thread.start()
        return self

    def close(self) -> None:
        """End; waits for the frame that is drawn at this moment."""
        self._closing.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()

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
        torch.set_num_threads(1)
        try:
            while not self._closing.wait(max(0.0, self._next_time() - self._now())):
                for frame in self.advance(self._closing.wait):
                    self._deliver(frame)
        except Exception as error:
            self.fault = error
            log.exception("a live face has stopped")
        finally:
            self._deliver(None)

    def _next_time(self) -> float:
        """When the speech that the next frame needs is there."""
        needed = (self.index + len(self._ready)) * SAMPLES_PER_FRAME + self._lookahead_samples
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

    def advance(self, wait: Callable[[float], object] = time.sleep) -> Iterator[LiveFrame]:
        """Yield the frames for which the speech is there, each at its time, for which `wait` waits."""
        begin, position = self._now(), self.position
        behind = (position - self._fed) // SAMPLES_PER_FRAME
        if behind > MAX_BEHIND_FRAMES:  # the machine stood still, or is far too slow
            self._fed += behind * SAMPLES_PER_FRAME
            for _ in range(behind):
                yield self._next_frame(None, 0.0, wait)
        if position > self._fed:
            motions = self.stream.motion(self.line.read(self._fed, position - self._fed))
            self._fed = position
            count = len(motions[0])
            first = min(self._unshown, count)
            self._unshown -= first
            self._ready.extend([motion[k : k + 1] for motion in motions] for k in range(first, count))
        motion_seconds = self._now() - begin
        while self._ready:
            yield self._next_frame(self._ready.popleft(), motion_seconds, wait)
            motion_seconds = 0.0

    def _next_frame(
        self, motions: list[Tensor] | None, motion_seconds: float, wait: Callable[[float], object]
    ) -> LiveFrame:
        """The next frame at its time, from a row of motion per face; None: nobody knows it, the last one is shown."""
        index, at = self.index, self.index * SAMPLES_PER_FRAME
        due = self._start + at / SAMPLE_RATE + self.delay
        is_speaking = self.line.is_audible(at, at + SAMPLES_PER_FRAME)
        shaped = None if motions is None else self._shape(motions, at)
        begin = self._now()
        is_late = begin > due + LATE_SECONDS
        is_overdue = self._undrawn >= MAX_UNDRAWN_FRAMES and not self._ready
        is_drawn = shaped is not None and (is_overdue or (self.frame_rate.draws(index) and not is_late))
        if shaped is not None and is_drawn:
            self._picture = self._draw(shaped)
        drawing_seconds = self._now() - begin if is_drawn else 0.0
        self._undrawn = 0 if is_drawn else self._undrawn + 1
        is_late = is_late or self._now() > due + LATE_SECONDS
        if self.frame_rate.record(motion_seconds, drawing_seconds, is_late):
            self._on_event("frame_rate", self.frame_rate.rate)
        if (early := due - self._now()) > 0:
            wait(early)
        self._tell(at)
        self.index += 1
        assert self._picture is not None
        return LiveFrame(index, self._picture, is_drawn, is_speaking, self._now() - self._start - at / SAMPLE_RATE)

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
        options = replace(self.stream.options, batch_size=1)
        picture = next(self.stream.talker.draw(self.stream.portrait, motions, options))
        for apply_filter in self._filters:
            picture = apply_filter(picture)
        return picture
