"""The whole sentence, from portrait and speech to video; the only file that knows every step.

Letters: T video frames (25 per second), M = 20 motion numbers.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anitalker import driving, machine, model, rendering, video, voices, weights
from anitalker import enhance as enhancing
from anitalker.config import FPS, InputError, RenderOptions
from anitalker.covers import ADVICE
from anitalker.face import Crop, Face, FaceFinder, choose
from anitalker.finders import FaceAlignmentFinder
from anitalker.model import Model, Path, Progress
from anitalker.motion_prior import MotionPrior, landmark_residual
from anitalker.motion_space import Codes
from anitalker.portraits import find_portrait
from anitalker.provenance import Origin
from anitalker.sound_check import concerns

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Portrait:
    """A picture, uint8 [H,W,3], and its chosen faces, ready to move."""

    picture: np.ndarray
    subjects: tuple[model.Subject, ...]
    indices: tuple[int, ...] = ()  # of the subjects among the faces found


def load(
    name: Path = "lite",
    device: str = "auto",
    stage1: Path | None = None,
    stage2: Path | None = None,
    hubert: Path | None = None,
) -> Talker:
    """A model by registry name, weight file or folder, on auto, cpu, cuda or mps; see `model.load` for the rest."""
    chosen = machine.choose_device(device)
    machine.keep_memory()
    torch.backends.cudnn.allow_tf32 = False  # all devices shall agree within rounding
    return Talker(model.load(name, chosen, stage1, stage2, hubert), weights.fingerprint(name, stage1, stage2))


class Talker:
    """One loaded model. Every step is a method; `render` and `reenact` are the sentences."""

    def __init__(self, model: Model, fingerprint: str = "") -> None:
        self.model, self.device, self.name = model, model.device, model.name
        self.fingerprint = fingerprint  # SHA-256 of the weights, for the credentials
        self._finders: dict[str, FaceFinder] = {}

    def finder(self, backend: str = "own") -> FaceFinder:
        """The face finder of a backend, loaded once."""
        if backend not in self._finders:
            self._finders[backend] = load_finder(backend, self.device)
        return self._finders[backend]

    def portrait(
        self,
        picture: Path | np.ndarray,
        face: str | int = "largest",
        backend: str = "own",
        also: Iterable[int] = (),
        enhance: str = "",
    ) -> Portrait:
        """Picture (pixels, or a file, which may be a video) -> faces -> crops -> codes.

        face: largest, all, or an index; also: indices of more faces; enhance: gfpgan draws the chosen ones again first.
        """
        finder = self.finder(backend)
        known = isinstance(picture, np.ndarray)
        pixels, found = (picture, finder.find(picture)) if known else find_portrait(picture, finder)
        chosen = [one for which in (face, *also) for one in choose(found, which)]
        indices = sorted({n for n, one in enumerate(found) if any(one is other for other in chosen)})
        subjects = self._subjects(pixels, [found[n] for n in indices])
        for n, subject in zip(indices, subjects, strict=True):
            codes = getattr(subject, "codes", None)
            self._doubt(n, self.doubt(found[n].score, subject.crop, finder, codes))
            for word in self.covered(subject.crop, codes):
                log.warning("face %d: %s", n, word)
        if enhance:
            pixels = enhancing.restore(pixels, [found[n].landmarks for n in indices], self.enhancer)
            subjects = self._subjects(pixels, [found[n] for n in indices])
        return Portrait(pixels, subjects, tuple(indices))

    def _subjects(self, pixels: np.ndarray, faces: Iterable[Face]) -> tuple[model.Subject, ...]:
        return tuple(self.model.subject(pixels, self.model.crop(pixels, one)) for one in faces)

    @functools.cached_property
    def enhancer(self) -> enhancing.Network:
        """GFPGAN, loaded once."""
        return enhancing.load("gfpgan", self.device)

    @functools.cached_property
    def prior(self) -> MotionPrior | None:
        """What tells faces from what only looks like one; None where it does not know this model's codes."""
        space = getattr(self.model, "space", None)
        return None if space is None else weights.load_prior(space)

    @torch.inference_mode()
    def codes(self, crop: Crop) -> Codes | None:
        """What the crop's pixels say; None where there is no prior to compare it with."""
        return None if self.prior is None else self.model.space(rendering.to_tensor(crop.image, self.device))

    @torch.inference_mode()
    def doubt(
        self, score: float, crop: Crop, finder: FaceFinder, codes: Codes | None = None
    ) -> tuple[bool, str] | None:
        """Whether a face is too unlike those learned from to be animated, and why; None for a usual one, or where this
        model or finder cannot tell. score: the finder's; codes: of the crop, if they have been read already."""
        if self.prior is None or type(finder) is not FaceFinder:  # other finders score otherwise
            return None
        codes = codes or self.codes(crop)
        signs = self.prior.signs(codes.motion.cpu(), codes.appearance.cpu(), score, landmark_residual(finder, crop))
        return self.prior.doubt(signs)

    @torch.inference_mode()
    def covered(self, crop: Crop, codes: Codes | None = None) -> list[str]:
        """What is to be said about parts of a face that something covers; codes: of the crop, if they are known."""
        if self.prior is None:
            return []
        codes = codes or self.codes(crop)
        return [ADVICE[part] for part in self.prior.covers.found(codes.appearance.cpu())]

    def _doubt(self, index: int, found: tuple[bool, str] | None) -> None:
        """A word about a doubt; InputError if there is nothing to animate."""
        if found and found[0]:
            raise InputError(f"face {index} cannot be animated: {found[1]}; give a picture of an uncovered face")
        if found:
            log.warning("face %d may not move well: %s", index, found[1])

    def motion(
        self,
        portrait: Portrait,
        speech: Path | np.ndarray,
        options: RenderOptions = RenderOptions(),
        progress: Progress | None = None,
        speech_for: Mapping[int, Path | np.ndarray] | None = None,
    ) -> list[Tensor]:
        """Speech (a file, or float32 [N] at 16 kHz) -> motion [T,M] of each face; T = ceil(25 seconds).

        speech_for: faces, by index, that speak something else; T is then that of the longest.
        """
        self.model.check(options)
        given = {None: speech, **(speech_for or {})}
        sounds = {key: one if isinstance(one, np.ndarray) else video.read_audio(one) for key, one in given.items()}
        heard: dict[int | None, Tensor] = {}  # [1,rT,S] each
        motions = []
        for n, subject in enumerate(portrait.subjects):
            key = portrait.indices[n] if n < len(portrait.indices) and portrait.indices[n] in sounds else None
            if key not in heard:
                heard[key] = self.model.hear(torch.tensor(voices.same_length(sounds)[key]))
            motions.append(self.model.move(heard[key], subject, options, options.seed + n, progress))
        return motions

    def draw(
        self, portrait: Portrait, motions: list[Tensor], options: RenderOptions = RenderOptions()
    ) -> Iterator[np.ndarray]:
        """Motion [T,M] of each face -> frames, uint8 [H,W,3]."""
        if options.frame == "crop" and len(motions) > 1:
            raise InputError(f"frame is crop, but {len(motions)} faces speak; choose one face, or --frame full")
        picture = portrait.picture if options.frame == "full" else None
        return rendering.render(self.model, portrait.subjects, motions, options.batch_size, picture)

    def frames(
        self, portrait: Portrait | Path, speech: Path | np.ndarray, options: RenderOptions = RenderOptions()
    ) -> Iterator[np.ndarray]:
        """The portrait speaks: frames, uint8 [H,W,3], yielded."""
        portrait = self._ready(portrait, options)
        yield from self.draw(portrait, self.motion(portrait, speech, options), options)

    def encode(
        self, clip: Path, face: str | int = "largest", backend: str = "own", progress: Progress | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """A video -> motion codes [T,M], read from the pixels of one fixed crop and smoothed; identity code [D]."""
        total = round((video.probe(clip).seconds or 0) * FPS)
        crops = driving.crops(video.read_frames(clip), self.finder(backend), face, self.model.crop)
        return driving.read_codes(self.model.read, crops, total, progress, self.model.calm)

    def render(
        self,
        portrait: Portrait | Path,
        speech: Path,
        output: Path,
        options: RenderOptions = RenderOptions(),
        progress: Progress | None = None,
        speech_for: Mapping[int, Path] | None = None,
    ) -> dict:
        """The portrait speaks a recording: an MP4, written whole or not at all -> facts for --json.

        speech_for: faces, by index, that speak recordings of their own; the video's sound is all of them.
        """
        clock, own = machine.Clock(), dict(speech_for or {})
        keep_inputs(output, portrait, speech, *own.values())
        self.model.check(options)
        sounds = {}
        for index, file in {None: speech, **own}.items():
            what = "speech" if index is None else f"speech-for {index}"
            sounds[index] = video.read_audio(file, what=what)
            for concern in concerns(sounds[index]):
                log.warning("%s: %s", what, concern)
        clock("speech")
        portrait = self._ready(portrait, options, own)
        clock("portrait")
        if own and set(portrait.indices) <= set(own):
            del sounds[None]  # nobody speaks it
            speech = None
        sounds = voices.same_length(sounds)
        motions = self.motion(portrait, sounds.pop(None, next(iter(sounds.values()))), options, progress, sounds)
        clock("motion")
        with voices.mixed(speech, own) as heard:
            return self._write(portrait, motions, output, heard, options, clock, progress)

    def reenact(
        self,
        portrait: Portrait | Path,
        clip: Path,
        output: Path,
        options: RenderOptions = RenderOptions(),
        progress: Progress | None = None,
        relative: bool = True,
    ) -> dict:
        """The portrait moves like the face in a video, by default relative to its first frame -> facts for --json."""
        clock = machine.Clock()
        keep_inputs(output, portrait, clip)
        portrait = self._ready(portrait, options)
        clock("portrait")
        codes = torch.tensor(self.encode(clip, backend=options.face_backend, progress=progress)[0], device=self.device)
        clock("encode")
        starts = [subject.motion if relative else codes[:1] for subject in portrait.subjects]
        motions = [start + codes - codes[:1] for start in starts]
        sound = clip if video.probe(clip).audio_codec else None
        return self._write(portrait, motions, output, sound, options, clock, progress)

    def animate(
        self,
        portrait: Portrait,
        motions: list[Tensor],
        output: Path,
        options: RenderOptions = RenderOptions(),
        progress: Progress | None = None,
    ) -> dict:
        """Motion [T,M] of each face, however it was made -> a silent MP4 -> facts for --json."""
        return self._write(portrait, motions, output, None, options, machine.Clock(), progress)

    def _ready(self, portrait: Portrait | Path, options: RenderOptions, also: Iterable[int] = ()) -> Portrait:
        if not isinstance(portrait, Portrait):
            return self.portrait(portrait, options.face, options.face_backend, also, options.enhance)
        if missing := set(also) - set(portrait.indices):
            raise InputError(f"speech-for names face {min(missing)}; this portrait has {list(portrait.indices)}")
        return portrait

    def _write(self, portrait, motions, output, sound, options, clock, progress) -> dict:
        height, width = portrait.picture.shape[:2] if options.frame == "full" else (self.model.size,) * 2
        total = len(motions[0])
        origin = Origin(self.name, self.fingerprint, options.seed) if options.marks else None
        if origin is None:
            log.warning("no marks: the law may ask for them (EU AI Act, Article 50; China's labelling rules)")
        with video.Writer(output, width, height, sound, origin, options.label, self.device.type) as writer:
            for done, frame in enumerate(self.draw(portrait, motions, options), 1):
                writer.write(frame)
                if progress:
                    progress("frames", done, total)
        clock("frames")
        size = {"width": width + width % 2, "height": height + height % 2}
        facts = {"output": str(output), "frames": total, "fps": FPS, "seconds": total / FPS, **size}
        rate = {"timings": clock.stages, "real_time_factor": clock.total() / (total / FPS)}
        return {**facts, **rate, "peak_rss_mb": machine.peak_memory(), "model": self.name, "seed": options.seed}


def load_finder(backend: str, device: torch.device) -> FaceFinder:
    """The face finder: own, or face-alignment."""
    if backend == "own":
        return FaceFinder(weights.load_face(), device)
    return FaceAlignmentFinder(weights.read("landmarks68")[1], device)


def find_faces(picture: Path, backend: str = "own", device: str = "auto", name: Path = "lite") -> dict:
    """The faces of a picture file as plain JSON types, the largest first, each with what rendering would say of it:
    `doubts`, reasons in words, and whether it would be `refused` for them by the model `name`."""
    talker = load(name, device)
    finder = talker.finder(backend)
    pixels, found = find_portrait(picture, finder, "picture")
    keys, faces = ("box", "score", "yaw", "pitch", "roll", "quality"), []
    for one in found:
        crop = talker.model.crop(pixels, one)
        codes = talker.codes(crop)
        doubt = talker.doubt(one.score, crop, finder, codes)
        words = [doubt[1]] if doubt else []
        said = {"doubts": words + talker.covered(crop, codes), "refused": bool(doubt and doubt[0])}
        faces.append({**{key: getattr(one, key) for key in keys}, **said, "landmarks": one.landmarks.tolist()})
    return {"picture": str(picture), "width": pixels.shape[1], "height": pixels.shape[0], "faces": faces}


def keep_inputs(output: Path, *inputs: Path | Portrait) -> None:
    """InputError for an output that would replace an input, or that cannot be written."""
    target = video.check_output(output)
    for one in inputs:
        if (
            isinstance(one, str | os.PathLike)
            and target.exists()
            and os.path.exists(one)
            and os.path.samefile(target, one)
        ):
            raise InputError(f"output is one of the inputs: {str(target)!r}; choose another name")
