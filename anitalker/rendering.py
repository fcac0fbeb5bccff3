"""Motion -> frames -> video: frames in batches, in constant memory, every face back in its picture.

Letters: B frames at once, T frames in all, M = 20 motion numbers, h x w pixels of the crop region.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import TypedDict, TypeVar

import numpy as np
import torch
from torch import Tensor

from anitalker.config import CROP, FPS, RenderOptions
from anitalker.faces.paste import paste_all
from anitalker.media.aspect import Extension
from anitalker.media.backdrop import parse_background
from anitalker.media.clip import Clip
from anitalker.media.formats import check_length, check_video_output, sequence_files
from anitalker.media.subtitles import Subtitles, read_subtitles, within
from anitalker.media.writer import VideoWriter
from anitalker.media.yuv import FilmedFrame
from anitalker.models.base import Model, PathLike, PreparedFace, ProgressCallback
from anitalker.provenance import marks
from anitalker.provenance.credentials import Generator, with_credentials
from anitalker.provenance.ledger import chosen_ledger
from anitalker.provenance.payload import new_identifier
from anitalker.provenance.synthetic_sound import has_synthetic_voice, marked_sound
from anitalker.runtime.device import Clock, choose_batch_size, peak_memory

Item = TypeVar("Item")
Result = TypeVar("Result")
MAX_WAITING_RESULTS = 2  # per worker
MAX_BATCH_BYTES = 2**28  # of finished frames in one batch
log = logging.getLogger(__name__)


class RenderFacts(TypedDict):
    """What `--json` prints of a video.

    fps: a whole number, or a fraction as of 30000/1001; seconds: its length; width, height: pixels; size, codec,
    quality: as in RenderOptions; timings: seconds of work by stage; real_time_factor: seconds of work per second of
    video; peak_rss_mb: largest resident memory of the process in MiB, None where the system does not tell;
    identifier: of this file, as its marks carry it.
    """

    output: str
    frames: int
    fps: float
    seconds: float
    width: int
    height: int
    size: int | str
    codec: str
    quality: int
    timings: dict[str, float]
    real_time_factor: float
    peak_rss_mb: float | None
    model: str
    seed: int
    identifier: str


def render(
    model: Model,
    faces: Sequence[PreparedFace],
    motions: Sequence[Tensor],
    batch_size: int | None,
    picture: np.ndarray | None,
) -> Iterator[np.ndarray]:
    """Draw frames, uint8 [H,W,3]: the faces, each under its own motion [T,M], in `picture`.

    Without a picture the crop of the first face, as the model draws it, is the frame. On a processor its cores draw
    frames of their own, ahead of the encoder. On other devices a thread draws them batch by batch: while a batch is
    encoded, the next ones are drawn and copied.
    """
    batch_size = choose_batch_size(model.device, batch_size)

    def draw(start: int, count: int) -> Iterator[np.ndarray]:
        batch = [motion[start : start + count] for motion in motions]
        if picture is None:
            yield from model.render_frames(faces[0], batch[0])
            return
        streams = [model.render_patches(face, motion) for face, motion in zip(faces, batch, strict=True)]
        for patches in zip(*streams, strict=True):
            yield paste_all(picture, patches)

    frames, workers = len(motions[0]), min(batch_size, torch.get_num_threads())
    if model.device.type != "cpu":
        batch_size = max(
            1, min(batch_size, MAX_BATCH_BYTES // (CROP * CROP * 3 if picture is None else picture.nbytes))
        )
        starts = range(0, frames, batch_size)
        for batch in ordered_parallel_map(lambda start: list(draw(start, batch_size)), starts, 1):
            yield from batch
        return
    if frames:
        yield from draw(0, 1)  # this thread makes what all frames share
    if frames < 2:
        return
    # A single worker, too: bfloat16 rounds otherwise where several threads share a layer.
    yield from ordered_parallel_map(lambda start: next(draw(start, 1)), range(1, frames), workers)


def ordered_parallel_map(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int, ahead: int = MAX_WAITING_RESULTS
) -> Iterator[Result]:
    """Yield work(item) of every item in order; `workers` items at a time, each on one thread.

    A frame's layers are too small to be shared among cores. Two frames drawn at the same time by a core each are
    finished sooner than two drawn after each other by two cores, and much sooner where other programs use the cores
    too. At most `ahead` results per worker wait to be taken. A result does not depend on the number of cores.
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
            for future in waiting:
                future.cancel()
            torch.set_num_threads(threads)  # a worker's number is also the default of later threads


def shown_to(on_frame: Callable[[np.ndarray], None] | None, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield frames after a call with each; None: there is nobody to call."""
    for frame in frames:
        if on_frame is not None:
            on_frame(frame)
        yield frame


def write_video(
    model: Model,
    frames: Iterator[np.ndarray],
    shape: tuple[int, int, int],
    output: PathLike,
    sound: PathLike | None,
    options: RenderOptions,
    clock: Clock,
    progress: ProgressCallback | None,
    *,
    fps: Fraction | int = FPS,
    keep: Clip | None = None,
    filmed: Iterator[FilmedFrame] | None = None,
    ingredients: tuple[Path, ...] = (),
    consent: str = "",
    inputs: Sequence[PathLike] = (),
    is_dubbed: bool = False,
) -> RenderFacts:
    """Write frames and the sound of a file to a video, marked as the options say; return the facts for --json.

    shape: number of frames, height and width in pixels; clock: has run since the job began; fps: frames per second;
    keep: see VideoWriter; filmed: what each frame was before it was changed; ingredients, consent: see Generator;
    inputs: files, of which those with credentials of their own are named in the new ones; is_dubbed: whether the sound
    replaces that of a filmed video. The file appears whole or not at all, and is recorded in the ledger that
    ANITALKER_LEDGER names.
    """
    total, height, width = shape
    path, form = check_video_output(output, options=options)
    extension = Extension(width, height, options.aspect, options.size) if options.aspect else None
    if extension:
        frames, width, height = map(extension, frames), extension.width, extension.height
    alpha = parse_background(options.background).kind == "transparent"
    subtitles = None
    if options.subtitles is not None:
        cues = within(read_subtitles(options.subtitles), float(total / fps))
        subtitles = Subtitles(cues, options.subtitles_as == "burnt", options.label and options.label_style == "words")
    check_length(form, total, width, height, fps)
    if sound and not form.sound:
        log.warning("%s has no sound: the speech is left out; .mp4, .mov and .webm have it", form.name)
    identifier, ledger = new_identifier(), chosen_ledger()
    labelled = math.inf if options.label_seconds is None else options.label_seconds * float(fps)
    look = (options.label_language, options.label_style, labelled, bool(ingredients))
    filters = marks.frame_filters(width, height, options.label, options.marks, identifier, *look)
    marks_sound = bool(options.marks and form.sound and sound and (is_dubbed or has_synthetic_voice(inputs)))
    generator = None
    if options.marks:
        named = (ingredients, consent, identifier, options.visible_label, with_credentials(inputs), marks_sound)
        generator = Generator(model.name, model.fingerprint, options.seed, *named)
    else:
        log.warning("no marks: the law may ask for them (EU AI Act, Article 50; China's labelling rules)")
    finish = marks.finishing_step(path, generator, identifier)
    codec, quality = form.codec_of(options.codec, alpha), options.quality
    device, tags = model.device.type, marks.metadata_tags(identifier, options.marks)
    settings = {
        "fps": fps,
        "codec": options.codec,
        "quality": quality,
        "keep": keep,
        "subtitles": subtitles,
        "tags": tags,
        "alpha": alpha,
    }
    with contextlib.ExitStack() as stack:
        if marks_sound and sound is not None:
            sound = stack.enter_context(marked_sound(sound, identifier))
        writer = stack.enter_context(VideoWriter(path, width, height, sound, filters, finish, device, **settings))
        for done, frame in enumerate(frames, 1):
            writer.write(frame, None if filmed is None else next(filmed))
            if progress:
                progress("frames", done, total)
    if ledger:
        ledger.record(identifier, model.name, options.seed, sequence_files(path)[0] if form.name == "PNG" else path)
    clock("frames")
    return {
        "output": str(output),
        "frames": total,
        "fps": int(fps) if fps == int(fps) else float(fps),
        "seconds": float(total / fps),
        "width": width + width % 2 * form.is_yuv,  # as VideoWriter pads them
        "height": height + height % 2 * form.is_yuv,
        "size": options.size,
        "codec": codec,
        "quality": quality,
        "timings": clock.stages,
        "real_time_factor": clock.total() / float(total / fps),
        "peak_rss_mb": peak_memory(),
        "model": model.name,
        "seed": options.seed,
        "identifier": identifier,
    }
