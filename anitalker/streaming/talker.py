"""Frames with bounded latency from speech that arrives piece by piece; in silence the portrait blinks and sways.

Letters: n samples of a piece, t frames, S speech features, M = 20 motion numbers.

The networks are those for whole recordings. A frame leaves when LOOKAHEAD_FRAMES of speech after it are known. Frame k
shows the sound from k / 25 s on, so a player delays the sound by what the picture needs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from anitalker.config import InputError, RenderOptions
from anitalker.media.backdrop import check_live
from anitalker.pipeline import Portrait, Talker
from anitalker.streaming.features import StreamingSpeechFeatures
from anitalker.streaming.live_motion import LiveMotion
from anitalker.streaming.pacing import prefetch, silence
from encoders import audio

LOOKAHEAD_FRAMES = 2  # of speech that must be known after a frame before it leaves
SAMPLER_STEPS = 2  # for head and lids; four give the same lips and the same smoothness


class StreamingTalker:
    """A portrait that speaks sound which arrives piece by piece; only for models that can stream (`lite`).

    options: as for `Talker.frames`; steps default to SAMPLER_STEPS here. lookahead: frames, see `LiveMotion`; each
    delays the picture by 40 ms and improves the lips. level: loudness of the speech in dB of full scale, see
    `StreamingSpeechFeatures`. late(k): whether frame k would come too late to be drawn; then the last frame is shown
    again, so that the picture keeps pace with the sound. InputError for a model that cannot stream.
    """

    def __init__(
        self,
        talker: Talker,
        portrait: Portrait,
        options: RenderOptions = RenderOptions(),
        lookahead: int = LOOKAHEAD_FRAMES,
        level: float | None = None,
        late: Callable[[int], bool] = lambda frame: False,
    ) -> None:
        model = talker.model.streaming
        if model is None:
            raise InputError(f"model {talker.name} makes whole clips and cannot stream; take --model lite")
        talker.model.check(options)
        if options.timeline is not None:
            raise InputError("timeline is for whole recordings; a stream takes --emotion and --expression alone")
        check_live(options.background)
        sampled = options if options.steps else replace(options, steps=SAMPLER_STEPS)
        self.talker, self.portrait, self.options, self.late = talker, portrait, options, late
        self.lookahead = lookahead
        self.model = model
        self.features = StreamingSpeechFeatures(model.speech, level)
        self.streams = [
            LiveMotion(
                model.generator_of(face),
                face.motion,
                torch.Generator().manual_seed(options.seed + n),
                model.sampling_params(sampled, face),
                lookahead,
            )
            for n, face in enumerate(portrait.faces)
        ]
        self.frame_count = 0  # frames that were delivered
        self.skipped = 0  # how many of them repeated the frame before
        self.last_frame: np.ndarray | None = None

    def motion(self, samples: np.ndarray, last: bool = False) -> list[Tensor]:
        """Samples float32 [n] at 16 kHz -> motion [t,M] of each face, for the frames that are ready."""
        frames = list(self._motions(samples, last))
        return [
            torch.cat([motions[n] for motions in frames] or [stream.start.new_zeros(0, stream.size)])
            for n, stream in enumerate(self.streams)
        ]

    def _motions(self, samples: np.ndarray, last: bool) -> Iterator[list[Tensor]]:
        """As `motion`, frame by frame, [1,M] of each face, generated on demand."""
        features = self.features.push(torch.tensor(samples), last)
        for motions in zip(*(stream.frames(features, last) for stream in self.streams), strict=True):
            triples = zip(motions, self.streams, self.portrait.faces, strict=True)
            yield [self.model.scale_motion(m[0], stream.start, self.options, face) for m, stream, face in triples]

    def push(self, samples: np.ndarray, last: bool = False) -> Iterator[np.ndarray]:
        """Samples float32 [n] at 16 kHz -> frames uint8 [H,W,3] that are ready.

        Motion is generated at once; frames are drawn on demand. Consume all of them before the next push.
        """
        return self._draw_all(list(self._motions(samples, last)))

    def warm(self) -> None:
        """Run everything once, because first calls are slow; the state of this stream does not change."""
        trial = StreamingTalker(self.talker, self.portrait, self.options, level=0.0)
        for _ in trial.push(silence(8 * audio.SAMPLES_PER_FRAME)):
            pass

    def _draw_all(self, motions_by_frame: list[list[Tensor]]) -> Iterator[np.ndarray]:
        for motions in motions_by_frame:
            yield self._deliver(self._draw(motions, self.frame_count))

    def _draw(self, motions: list[Tensor], index: int) -> np.ndarray | None:
        """Frame `index` from one row of motion per face; None if it would come too late."""
        if index and self.late(index):
            return None
        return next(self.talker.draw(self.portrait, motions, self.options))

    def _deliver(self, frame: np.ndarray | None) -> np.ndarray:
        """The next frame of the stream: the drawn one, or the last one again."""
        self.frame_count += 1
        self.skipped += frame is None
        if frame is not None:
            self.last_frame = frame
        assert self.last_frame is not None  # the first frame is never late
        return self.last_frame

    def frames(self, pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Pieces of sound, float32 [n] at 16 kHz, as they arrive -> all frames, T = ceil(25 seconds).

        A separate thread generates motion and hands every frame to a free core. A frame that takes longer than 40 ms to
        draw delays only itself, because the next is drawn beside it.
        """
        threads = torch.get_num_threads()
        pool = ThreadPoolExecutor(threads, "frames", initializer=torch.set_num_threads, initargs=(1,))
        try:
            for future in prefetch(self._submit_frames(pieces, pool)):
                yield self._deliver(future.result())
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)  # new threads start with the number that any thread has set last

    def _submit_frames(self, pieces: Iterable[np.ndarray], pool: ThreadPoolExecutor) -> Iterator[Future]:
        """Futures of the frames, in order."""
        torch.set_num_threads(1)
        index = 0
        for piece, last in chain(((piece, False) for piece in pieces), [(silence(0), True)]):
            for motions in self._motions(piece, last):
                yield pool.submit(self._draw, motions, index)
                index += 1


def frames_with_audio(stream: StreamingTalker, pieces: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pieces of sound, float32 [n] -> each frame uint8 [H,W,3] with its own sound float32 [640].

    Sound is padded with silence at the end.
    """
    arrived: deque[np.ndarray] = deque()  # filled by the thread that reads `pieces`
    waiting = silence(0)

    def recorded() -> Iterator[np.ndarray]:
        for piece in pieces:
            arrived.append(piece)
            yield piece

    for frame in stream.frames(recorded()):
        while len(waiting) < audio.SAMPLES_PER_FRAME and arrived:
            waiting = np.concatenate([waiting, arrived.popleft()])
        sound, waiting = waiting[: audio.SAMPLES_PER_FRAME], waiting[audio.SAMPLES_PER_FRAME :]
        yield frame, np.concatenate([sound, silence(audio.SAMPLES_PER_FRAME - len(sound))])
