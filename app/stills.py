"""A still that follows the sliders, and an estimate of the time: both from a portrait prepared small, beside the jobs.

Letters: T video frames, M = 20 motion numbers.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from anitalker import estimate
from anitalker.config import CROP, FPS, SAMPLE_RATE, DubOptions, InputError, RenderOptions
from anitalker.faces.crop import crop_pixels
from anitalker.media.backdrop import checkered
from anitalker.media.images import MAX_SIDE
from anitalker.media.video import read_audio
from anitalker.motion.gaze import resting_gaze
from anitalker.motion.subspaces import OPTION_INDICES
from anitalker.provenance import marks
from anitalker.provenance.credentials import Generator
from anitalker.provenance.payload import new_identifier

from .components import jpeg_address
from .dub_estimate import DubPace, measure_pace
from .live_video import frames_ahead, small_size
from .models import Models
from .work import BATCH_SIZE

if TYPE_CHECKING:
    from anitalker.models.base import PreparedFace, StreamingModel
    from anitalker.pipeline import Portrait, Talker

EXAMPLE = Path(__file__).parent / "examples" / "speech.flac"
EXAMPLE_SECONDS = 3  # of it, in which a portrait moves enough to show how far
PREPARED_SIZE = 512  # pixels: large enough to time what a pixel costs
MAX_PREPARED = 16  # portraits kept, of all visitors
STRENGTHS = ("lips", "head", "blink")  # options that scale motion; each has a moment that shows it best
CHARACTERS_PER_SECOND = 14  # of spoken text


@dataclass(frozen=True)
class Prepared:
    """A small portrait, the pixels (height, width) of its file, and codes [1,M] that differ from its own in what each
    of STRENGTHS scales."""

    portrait: Portrait
    picture_size: tuple[int, int]
    moments: dict[str, torch.Tensor]


class Stills:
    """Draws stills on a thread of its own, so that they do not wait for a video. Keeps MAX_PREPARED portraits."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._identifier = new_identifier()  # of all stills that are only shown: a new one would make them flicker
        self._workers = min(BATCH_SIZE, torch.get_num_threads())  # that draw a video on a processor, side by side
        self._pool = ThreadPoolExecutor(1, "stills")
        self._prepared: OrderedDict[tuple, Prepared] = OrderedDict()  # used on the pool's thread only
        self._paces: OrderedDict[tuple, DubPace | InputError] = OrderedDict()  # of videos to dub; the same thread

    def draw(self, owner: str, file: Path, options: RenderOptions, moment: str, model: str | None) -> Future[str]:
        """Draw the face of a portrait under the options -> address of a JPEG of the face crop.

        moment: of STRENGTHS, what the still shows at its furthest; anything else: the portrait at rest. InputError
        where the portrait cannot be animated or the model draws no stills.
        """
        return self._pool.submit(self._draw, owner, file, options, moment, model)

    def save(
        self, file: Path, options: RenderOptions, moment: str, model: str | None, output: Path
    ) -> Future[tuple[int, int]]:
        """Draw a still as a frame of the video, into a marked PNG -> height and width; InputError as above."""
        return self._pool.submit(self._save, file, options, moment, model, output)

    def estimate(
        self, owner: str, file: Path, seconds: float, options: RenderOptions, driven: bool, model: str | None
    ) -> Future[float]:
        """Estimate the seconds of work of a video of so many seconds; InputError as for `draw`."""
        return self._pool.submit(self._estimate, owner, file, seconds, options, driven, model)

    def estimate_dub(
        self, owner: str, film: Path, seconds: float, options: RenderOptions, dubbing: DubOptions, model: str | None
    ) -> Future[float]:
        """Estimate the seconds of work of a dub with a speech of so many seconds; InputError where none can be made."""
        return self._pool.submit(self._estimate_dub, owner, film, seconds, options, dubbing, model)

    def forget(self, owner: str) -> None:
        """Drop the portraits of a visitor, and what is known of the visitor's videos."""
        self._pool.submit(self._drop, lambda key: key[0] == owner)

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _draw(self, owner: str, file: Path, options: RenderOptions, moment: str, model: str | None) -> str:
        talker = self._talker(model)
        prepared = self._prepare(owner, file, options, talker)
        face = prepared.portrait.faces[0]
        code = prepared.moments.get(moment, face.motion)
        assert talker.model.streaming is not None
        code = moved(talker.model.streaming, code, face.motion, options)
        if options.background == RenderOptions.background:
            frame = next(iter(talker.model.render_frames(face, code)))
        else:
            frame = draw_before(talker, prepared.portrait, code, options)
        height, width = frame.shape[:2]
        look = (options.label, options.marks, self._identifier, options.label_language, options.label_style)
        for apply_filter in marks.frame_filters(width, height, *look):
            frame = apply_filter(frame)
        return jpeg_address(frame)

    def _save(
        self, file: Path, options: RenderOptions, moment: str, model: str | None, output: Path
    ) -> tuple[int, int]:
        talker = self._talker(model)
        assert talker.model.streaming is not None
        portrait, codes = talker.prepare(file, options), []
        for face in portrait.faces:
            code = moments_of(talker, face)[moment] if moment in STRENGTHS else face.motion
            codes.append(moved(talker.model.streaming, code, face.motion, options))
        frame = next(iter(talker.draw(portrait, codes, options)))
        generator = Generator(talker.name, talker.model.fingerprint, consent=portrait.consent)
        marks.write_picture(output, frame, options.label, generator, options.label_language, options.label_style)
        return frame.shape[0], frame.shape[1]

    def _estimate(
        self, owner: str, file: Path, seconds: float, options: RenderOptions, driven: bool, model: str | None
    ) -> float:
        talker = self._talker(model)
        prepared = self._prepare(owner, file, options, talker)
        small, size = prepared.portrait, final_size(prepared.picture_size, options)
        frames = math.ceil(seconds * FPS)
        ratio = math.prod(size) / math.prod(small.picture.shape[:2])
        drawn = sum(map(estimate.drawn_pixels, small.faces))
        workers = self._workers if talker.device.type == "cpu" else 1
        speed = estimate.measure_speed(talker.model, max(small.faces, key=estimate.drawn_pixels), workers)
        if options.frame == "crop":
            drawn, ratio, size = talker.model.size**2, 1, (talker.model.size, talker.model.size)
        work = speed.seconds(frames, len(small.faces), round(drawn * ratio), size, driven)
        if not driven and (ahead := frames_ahead(talker, drawn * ratio, frames, options)):
            live = small_size(size)
            work += speed.seconds(ahead, len(small.faces), round(drawn * math.prod(live) / math.prod(size)), live)
        return work

    def _estimate_dub(
        self, owner: str, film: Path, seconds: float, options: RenderOptions, dubbing: DubOptions, model: str | None
    ) -> float:
        talker = self._talker(model)
        self._drop(lambda key: not key[1].exists())
        key = (owner, film, options.face, options.size, dubbing.start, dubbing.stop, talker.name)
        if key not in self._paces:
            try:
                self._paces[key] = measure_pace(talker, film, options, dubbing)
            except InputError as error:  # it would be the same again
                self._paces[key] = error
            while len(self._paces) > MAX_PREPARED:
                self._paces.popitem(last=False)
        pace = self._paces[key]
        if isinstance(pace, InputError):
            raise InputError(str(pace))
        return pace.seconds(seconds, dubbing)

    def _talker(self, model: str | None) -> Talker:
        """The loaded model. A still loads none: a visitor who only looks must not take another's away."""
        talker = self._models.loaded(model or None)
        if talker is None or talker.model.streaming is None:
            raise InputError("the still follows with the loaded model of our own family only")
        return talker

    def _prepare(self, owner: str, file: Path, options: RenderOptions, talker: Talker) -> Prepared:
        self._drop(lambda key: not key[1].exists())
        key = (owner, file, options.face, talker.name)
        if key not in self._prepared:
            portrait = talker.portrait(file, options.face, options.face_backend, size=PREPARED_SIZE)
            self._prepared[key] = Prepared(
                portrait, _picture_size(file, portrait), moments_of(talker, portrait.faces[0])
            )
            while len(self._prepared) > MAX_PREPARED:
                self._prepared.popitem(last=False)
        self._prepared.move_to_end(key)
        return self._prepared[key]

    def _drop(self, unwanted: Callable[[tuple], bool]) -> None:
        kept: OrderedDict[tuple, Any]
        for kept in (self._prepared, self._paces):
            for key in [key for key in kept if unwanted(key)]:
                del kept[key]


def draw_before(talker: Talker, portrait: Portrait, code: torch.Tensor, options: RenderOptions) -> np.ndarray:
    """A portrait's first face with a code [1,M] before the background of the options, uint8 [CROP,CROP,3]: its crop;
    a checkerboard, where it is transparent."""
    first, *others = portrait.faces
    frame = next(iter(talker.draw(portrait, [code, *(face.motion for face in others)], replace(options, frame="full"))))
    crop = Image.fromarray(crop_pixels(checkered(frame), first.crop))
    return np.asarray(crop.resize((CROP, CROP), Image.Resampling.BOX))


def moments_of(talker: Talker, face: PreparedFace) -> dict[str, torch.Tensor]:
    """For each of STRENGTHS a code [1,M]: the face's own, and what that option scales where it is largest.

    Taken from the motion of the face while it speaks the example; a blink at its deepest from the model.
    """
    model, start = talker.model.streaming, face.motion
    assert model is not None
    speech = read_audio(EXAMPLE)[: EXAMPLE_SECONDS * SAMPLE_RATE]
    features = talker.model.speech_features(torch.tensor(speech))
    motion = talker.model.generate_motion(features, face, RenderOptions(gaze="portrait"), 0)
    blink = torch.tensor(model.generator.config.blink, device=start.device).reshape(-1, start.shape[1])
    moments = {}
    for name in STRENGTHS:
        frames = start + blink if name == "blink" and len(blink) else motion
        change = frames - model.scale_motion(frames, start, replace(RenderOptions(), **{name: 0.0}))
        moments[name] = start + change[change.norm(dim=1).argmax()][None]
    return moments


def moved(model: StreamingModel, code: torch.Tensor, start: torch.Tensor, options: RenderOptions) -> torch.Tensor:
    """A code [1,M] under the strengths, the pose and the gaze of the options; start [1,M]: the portrait's own."""
    code = posed(model.scale_motion(code, start, options), start, options)
    return torch.cat([code, resting_gaze(options).to(code)], 1)


def posed(code: torch.Tensor, start: torch.Tensor, options: RenderOptions) -> torch.Tensor:
    """A code [1,M] with the pose that the options set: angles are absolute, the others relative to `start` [1,M]."""
    code = code.clone()
    if options.still:
        code[:, :6] = start[:, :6]
    for name in ("yaw", "pitch", "roll", "location", "scale"):
        value, (index,) = getattr(options, name), OPTION_INDICES[name]
        if value is None:
            continue
        if name == "location":
            code[:, index] = start[:, index] + value
        elif name == "scale":
            code[:, index] = start[:, index] + math.log(value)
        else:
            code[:, index] = math.radians(value)
    return code


def final_size(picture_size: tuple[int, int], options: RenderOptions) -> tuple[int, int]:
    """Height and width of the video, about, of a picture of (height, width) pixels."""
    height, width = picture_size
    limit = math.inf if isinstance(options.size, str) else options.size
    scale = min(1, limit / min(height, width), MAX_SIDE / max(height, width))
    return round(height * scale), round(width * scale)


def spoken_seconds(text: object) -> float:
    """How long a text lasts when it is spoken, about."""
    return len(str(text).strip()) / CHARACTERS_PER_SECOND


def _picture_size(file: Path, portrait: Portrait) -> tuple[int, int]:
    """Height and width of a picture file; of the portrait where only the pipeline can read the file."""
    height, width = portrait.picture.shape[:2]
    try:
        with Image.open(file) as picture:
            sides = sorted(picture.size)
    except OSError:
        return height, width
    return (sides[0], sides[1]) if height < width else (sides[1], sides[0])
