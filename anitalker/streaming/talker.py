"""Speech that arrives piece by piece -> frames with bounded latency; in silence the portrait blinks and sways.

Letters: n samples of one piece, t frames, S speech features, M = 20 motion numbers.

The same networks as for whole recordings. A frame leaves when LOOKAHEAD frames of speech after it are known. Frame k
shows the sound from k / 25 s on, so a player delays the sound by what the picture needs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from anitalker.config import InputError, RenderOptions
from anitalker.pipeline import Portrait, Talker
from anitalker.streaming.features import StreamingSpeechFeatures
from anitalker.streaming.live_motion import LiveMotion
from anitalker.streaming.pacing import prefetch, silence
from encoders import audio

T = TypeVar("T")
LOOKAHEAD = 2  # frames of speech known behind the one that leaves
STEPS = 2  # sampler steps of head and lids; four give the same lips and the same calm


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
        self.ear = StreamingSpeechFeatures(model.speech, level)
        self.streams = [
            LiveMotion(model.generator, one.motion, torch.Generator().manual_seed(options.seed + n), asked, lookahead)
            for n, one in enumerate(portrait.faces)
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
            for drawn in prefetch(self._drawing(pieces, pool)):
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
