"""Speech that arrives piece by piece -> frames with bounded latency; in silence the portrait blinks and sways.

Letters: n samples of one piece, t frames, S speech features, M = 20 motion numbers.

The same networks as for whole recordings. A frame leaves when LOOKAHEAD frames of speech after it are known. Frame k
shows the sound from k / 25 s on, so a player delays the sound by what the picture needs.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import BinaryIO, TypeVar

import numpy as np
import torch
from torch import Tensor

from anitalker.config import FPS, SAMPLE_RATE, InputError, RenderOptions
from anitalker.live_motion import LiveMotion
from anitalker.pipeline import Portrait, Talker
from encoders import audio
from encoders.speech import Heard, SpeechFeatures

T = TypeVar("T")
PIECE = SAMPLE_RATE // 50  # 20 ms, the piece in which `paced` hands on sound
NEAR = (audio.PITCH_WINDOW - audio.SAMPLES_PER_FRAME) // 2  # samples on either side that a frame's features touch
REMEMBERED = 60 * SAMPLE_RATE // audio.BLOCK_STEP  # pieces of sound that the level is taken from: a minute
LOOKAHEAD = 2  # frames of speech known behind the one that leaves
STEPS = 2  # sampler steps of head and lids; four give the same lips and the same calm


class Ear:
    """Samples as they arrive -> speech features of whole video frames, as `SpeechFeatures` makes of the whole.

    level: of the speech, dB of full scale; None: measured on what was heard so far, so the first second is a guess.
    """

    def __init__(self, features: SpeechFeatures, level: float | None = None) -> None:
        self.features, self.level, self.heard = features, level, Heard()
        self.waiting = torch.zeros(0)  # from one frame before the next on
        self.before = 0  # frames in `waiting` that are done: 0 at first, then 1
        self.loud: deque[float] = deque(maxlen=REMEMBERED)
        self.piece = torch.zeros(0)  # less than BLOCK_STEP samples, not yet in `loud`

    @torch.inference_mode()
    def push(self, samples: Tensor, last: bool = False) -> Tensor:
        """Samples [n] in -1..1 -> features [1,t,S] of the frames that are known now; last: of all that remain."""
        self._measure(samples)
        self.waiting = torch.cat([self.waiting, samples * self.gain()])
        size = audio.SAMPLES_PER_FRAME
        known = audio.frame_count(len(self.waiting)) if last else max(0, len(self.waiting) - NEAR) // size
        if known <= self.before:
            return torch.zeros(1, 0, self.features.size)
        near = self.waiting[None].to(self.features.window.device)
        rows = slice(self.before * self.features.per_frame, known * self.features.per_frame)
        made = self.features.assemble(
            self.features.log_mel(near)[:, rows], self.features.pitch(near)[:, self.before : known], self.heard
        )
        self.waiting, self.before = self.waiting[(known - 1) * size :], 1
        return made

    def gain(self) -> float:
        """Factor that brings the speech to the level of the training."""
        level = self.level
        if level is None and len(self.loud) >= audio.BLOCK // audio.BLOCK_STEP:
            level = audio.gated_level(torch.tensor(self.loud, dtype=torch.float64))
        return 1.0 if level is None else 10 ** (min(audio.SPEECH_LEVEL - level, audio.MAX_GAIN) / 20)

    def _measure(self, samples: Tensor) -> None:
        if self.level is not None:
            return
        self.piece = torch.cat([self.piece, samples])
        whole = len(self.piece) // audio.BLOCK_STEP
        blocks, self.piece = self.piece[: whole * audio.BLOCK_STEP], self.piece[whole * audio.BLOCK_STEP :]
        self.loud.extend(blocks.unflatten(0, (whole, audio.BLOCK_STEP)).square().mean(1).tolist() if whole else [])


class StreamingTalker:
    """One portrait that speaks what it is given, piece by piece; only for models that can stream (`lite`).

    options: as for `Talker.frames`; its steps default to STEPS here. lookahead: see `LiveMotion`; each frame of it
    costs 40 ms and gains lips. level: see `Ear`. late(k): whether frame k would come too late to be drawn; the
    last one is then shown again, so that the picture keeps pace with the sound.
    """

    def __init__(
        self,
        talker: Talker,
        portrait: Portrait,
        options: RenderOptions = RenderOptions(),
        lookahead: int = LOOKAHEAD,
        level: float | None = None,
        late: Callable[[int], bool] = lambda frame: False,
    ) -> None:
        model = talker.model.streaming
        if model is None:
            raise InputError(f"model {talker.name} makes whole clips and cannot stream; take --model lite")
        talker.model.check(options)
        asked = model.sampling_params(options if options.steps else replace(options, steps=STEPS))
        self.talker, self.portrait, self.options, self.late = talker, portrait, options, late
        self.model = model
        self.ear = Ear(model.speech, level)
        self.streams = [
            LiveMotion(model.generator, one.motion, torch.Generator().manual_seed(options.seed + n), asked, lookahead)
            for n, one in enumerate(portrait.subjects)
        ]
        self.made = self.skipped = 0  # frames so far, and how many of them were the last one again
        self.shown: np.ndarray | None = None

    def motion(self, samples: np.ndarray, last: bool = False) -> list[Tensor]:
        """Samples float32 [n] at 16 kHz -> motion [t,M] of each face, of the frames that are ready."""
        made = list(self._motions(samples, last))
        return [torch.cat([motions[n] for motions in made] or [x.start[:0]]) for n, x in enumerate(self.streams)]

    def _motions(self, samples: np.ndarray, last: bool) -> Iterator[list[Tensor]]:
        """The same frame by frame, [1,M] of each face, made as they are asked for: the first waits for no other."""
        heard = self.ear.push(torch.tensor(samples), last)
        for made in zip(*(stream.frames(heard, last) for stream in self.streams), strict=True):
            pairs = zip(made, self.streams, strict=True)
            yield [self.model.scale_motion(one[0], stream.start, self.options) for one, stream in pairs]

    def push(self, samples: np.ndarray, last: bool = False) -> Iterator[np.ndarray]:
        """Samples float32 [n] at 16 kHz -> frames uint8 [H,W,3] that are ready. The sound is heard at once, the frames
        are drawn one by one as they are asked for: ask for all of them before the next push."""
        return self._draw(list(self._motions(samples, last)))

    def warm(self) -> None:
        """Do once what the first use of everything makes slow; leaves no trace in this stream."""
        trial = StreamingTalker(self.talker, self.portrait, self.options, level=0.0)
        for _ in trial.push(silence(8 * audio.SAMPLES_PER_FRAME)):
            pass

    def _draw(self, made: list[list[Tensor]]) -> Iterator[np.ndarray]:
        for motions in made:
            yield self._show(self._drawn(motions, self.made))

    def _drawn(self, motions: list[Tensor], frame: int) -> np.ndarray | None:
        """Frame number `frame` from one row of motion per face; None if it would come too late."""
        if frame and self.late(frame):
            return None
        return next(self.talker.draw(self.portrait, motions, self.options))

    def _show(self, drawn: np.ndarray | None) -> np.ndarray:
        """What is seen next: the drawn frame, or the last one again."""
        self.made += 1
        self.skipped += drawn is None
        self.shown = self.shown if drawn is None else drawn
        return self.shown

    def frames(self, pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Pieces of sound, float32 [n] at 16 kHz, as they come -> all frames, T = ceil(25 seconds).

        A thread of its own hears and makes motion, and hands every frame at once to whichever core is free: a frame
        that takes longer than 40 ms is still drawn in time for its own delay, because the next is drawn beside it.
        """
        threads = torch.get_num_threads()
        pool = ThreadPoolExecutor(threads, "frames", initializer=torch.set_num_threads, initargs=(1,))
        try:
            for drawn in ahead(self._drawing(pieces, pool)):
                yield self._show(drawn.result())
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)  # a thread's choice is also what threads begin with from then on

    def _drawing(self, pieces: Iterable[np.ndarray], pool: ThreadPoolExecutor) -> Iterator[Future]:
        """Frames that are being drawn, in order."""
        torch.set_num_threads(1)
        begun = 0
        for piece, last in chain(((piece, False) for piece in pieces), [(silence(0), True)]):
            for motions in self._motions(piece, last):
                yield pool.submit(self._drawn, motions, begun)
                begun += 1


def ahead(items: Iterator[T], backlog: int = 4) -> Iterator[T]:
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


def with_sound(stream: StreamingTalker, pieces: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pieces of sound -> each frame uint8 [H,W,3] with its own sound float32 [640], silence behind the end."""
    heard: deque[np.ndarray] = deque()  # filled by the thread that hears
    waiting = silence(0)

    def kept() -> Iterator[np.ndarray]:
        for piece in pieces:
            heard.append(piece)
            yield piece

    for frame in stream.frames(kept()):
        while len(waiting) < audio.SAMPLES_PER_FRAME and heard:
            waiting = np.concatenate([waiting, heard.popleft()])
        own, waiting = waiting[: audio.SAMPLES_PER_FRAME], waiting[audio.SAMPLES_PER_FRAME :]
        yield frame, np.concatenate([own, silence(audio.SAMPLES_PER_FRAME - len(own))])


def silence(samples: int = PIECE) -> np.ndarray:
    """Samples of silence, float32."""
    return np.zeros(samples, np.float32)


def listen(source: BinaryIO, backlog: int) -> Queue:
    """A thread that reads 16 bit PCM into a queue of float32 pieces of up to 20 ms; None at the end.

    When `backlog` pieces wait it reads no more: whoever sends has to wait too.
    """
    arrived: Queue = Queue(backlog)
    read = getattr(source, "read1", source.read)  # what is there, instead of waiting for all that was asked for

    def run() -> None:
        rest = b""
        while data := read(2 * PIECE - len(rest)):
            data = rest + data
            whole = len(data) // 2 * 2
            rest = data[whole:]
            arrived.put(np.frombuffer(data[:whole], "<i2").astype(np.float32) / 32768)
        arrived.put(None)

    Thread(target=run, daemon=True).start()
    return arrived


def at_once(arrived: Queue) -> Iterator[np.ndarray]:
    """What `listen` hears, as soon as it is there."""
    while (piece := arrived.get()) is not None:
        yield piece


def paced(
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
        while open_ and len(rest) < PIECE:
            try:
                piece = arrived.get_nowait()
            except Empty:
                break
            open_ = piece is not None
            rest = np.concatenate([rest, piece]) if open_ else rest
        if not open_ and not len(rest):
            return  # at once: the last frames wait for this
        ahead = begun + given / SAMPLE_RATE - now()
        if ahead > 0:
            wait(ahead)
        head, rest = rest[:PIECE], rest[PIECE:]
        yield np.concatenate([head, silence(PIECE - len(head))])
        given += PIECE


def deadline(slack: float, now: Callable[[], float] = time.monotonic) -> Callable[[int], bool]:
    """late(k) for `StreamingTalker`: frame k is late `slack` seconds after its sound began, counted from this call."""
    begun = now()
    return lambda frame: now() - begun > frame / FPS + slack
