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

from anitalker import rendering
from anitalker.config import FPS, InputError, RenderOptions
from anitalker.faces import restoration as enhancing
from anitalker.faces.detection import Face, FaceFinder, choose
from anitalker.files import check_output
from anitalker.media.portrait_file import find_portrait
from anitalker.media.soundtrack import Soundtrack, Source
from anitalker.media.video import probe, read_frames
from anitalker.media.writer import VideoWriter
from anitalker.models import base, loading
from anitalker.models.base import FaceCheck, Model, Path, Progress
from anitalker.motion import driving_video
from anitalker.provenance import marks
from anitalker.provenance.credentials import Generator
from anitalker.runtime.device import Clock, choose_device, peak_memory, tune_malloc

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Portrait:
    """A picture, uint8 [H,W,3], and its chosen faces, ready to move."""

    picture: np.ndarray
    faces: tuple[base.PreparedFace, ...]
    indices: tuple[int, ...] = ()  # of these faces among the faces found


def load(
    name: Path = "lite",
    device: str = "auto",
    stage1: Path | None = None,
    stage2: Path | None = None,
    hubert: Path | None = None,
) -> Talker:
    """A model by registry name, weight file or folder, on auto, cpu, cuda or mps; see `weights.load` for the rest."""
    chosen = choose_device(device)
    tune_malloc()
    torch.backends.cudnn.allow_tf32 = False  # all devices shall agree within rounding
    return Talker(loading.load(name, chosen, stage1, stage2, hubert))


class Talker:
    """One loaded model. Every step is a method; `render` and `reenact` are the sentences."""

    def __init__(self, model: Model) -> None:
        self.model, self.device, self.name = model, model.device, model.name
        self._finders: dict[str, FaceFinder] = {}

    def finder(self, backend: str = "own") -> FaceFinder:
        """The face finder of a backend, loaded once."""
        if backend not in self._finders:
            self._finders[backend] = loading.load_finder(backend, self.device)
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
        faces = [found[n] for n in indices]
        prepared = self._prepare(pixels, faces)
        for n, face, ready in zip(indices, faces, prepared, strict=True):
            self._check_face(n, self.model.check_face(face, ready.crop, finder, ready))
        if enhance:
            pixels = enhancing.restore(pixels, [face.landmarks for face in faces], self.enhancer)
            prepared = self._prepare(pixels, faces)
        return Portrait(pixels, prepared, tuple(indices))

    def _prepare(self, pixels: np.ndarray, faces: Iterable[Face]) -> tuple[base.PreparedFace, ...]:
        return tuple(self.model.prepare(pixels, self.model.crop(pixels, face)) for face in faces)

    @functools.cached_property
    def enhancer(self) -> enhancing.Network:
        """GFPGAN, loaded once."""
        return enhancing.load("gfpgan", self.device)

    @staticmethod
    def _check_face(index: int, check: FaceCheck) -> None:
        """A word about a doubtful or covered face; InputError if there is nothing to animate."""
        if check.refused:
            raise InputError(f"face {index} cannot be animated: {check.doubt}; give a picture of an uncovered face")
        if check.doubt:
            log.warning("face %d may not move well: %s", index, check.doubt)
        for sentence in check.occlusions:
            log.warning("face %d: %s", index, sentence)

    def motion(
        self,
        portrait: Portrait,
        speech: Source | Soundtrack,
        options: RenderOptions = RenderOptions(),
        progress: Progress | None = None,
        speech_for: Mapping[int, Source] | None = None,
    ) -> list[Tensor]:
        """Speech (a file, or float32 [N] at 16 kHz) -> motion [T,M] of each face; T = ceil(25 seconds).

        speech_for: faces, by index, that speak something else; T is then that of the longest.
        """
        self.model.check(options)
        track = speech if isinstance(speech, Soundtrack) else Soundtrack.read(speech, speech_for)
        features: dict[int | None, Tensor] = {}  # [1,rT,S] by recording
        motions = []
        for n, face in enumerate(portrait.faces):
            recording = track.recording_of(portrait.indices[n] if n < len(portrait.indices) else None)
            if recording not in features:
                features[recording] = self.model.speech_features(torch.tensor(track.padded(recording)))
            seed = options.seed + n
            motions.append(self.model.generate_motion(features[recording], face, options, seed, progress))
        return motions

    def draw(
        self, portrait: Portrait, motions: list[Tensor], options: RenderOptions = RenderOptions()
    ) -> Iterator[np.ndarray]:
        """Motion [T,M] of each face -> frames, uint8 [H,W,3]."""
        if options.frame == "crop" and len(motions) > 1:
            raise InputError(f"frame is crop, but {len(motions)} faces speak; choose one face, or --frame full")
        picture = portrait.picture if options.frame == "full" else None
        return rendering.render(self.model, portrait.faces, motions, options.batch_size, picture)

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
        total = round((probe(clip).seconds or 0) * FPS)
        crops = driving_video.crop_frames(read_frames(clip), self.finder(backend), face, self.model.crop)
        return driving_video.read_codes(self.model.read_codes, crops, total, progress, self.model.driving_filter)

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
        clock, own = Clock(), dict(speech_for or {})
        keep_inputs(output, portrait, speech, *own.values())
        self.model.check(options)
        track = Soundtrack.read(speech, own)
        for sentence in track.warnings():
            log.warning("%s", sentence)
        clock("speech")
        portrait = self._ready(portrait, options, own)
        clock("portrait")
        track = track.spoken_by(portrait.indices)
        motions = self.motion(portrait, track, options, progress)
        clock("motion")
        with track.file() as sound:
            return self._write(portrait, motions, output, sound, options, clock, progress)

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
        clock = Clock()
        keep_inputs(output, portrait, clip)
        portrait = self._ready(portrait, options)
        clock("portrait")
        codes = torch.tensor(self.encode(clip, backend=options.face_backend, progress=progress)[0], device=self.device)
        clock("encode")
        starts = [subject.motion if relative else codes[:1] for subject in portrait.faces]
        motions = [start + codes - codes[:1] for start in starts]
        sound = clip if probe(clip).audio_codec else None
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
        return self._write(portrait, motions, output, None, options, Clock(), progress)

    def _ready(self, portrait: Portrait | Path, options: RenderOptions, also: Iterable[int] = ()) -> Portrait:
        if not isinstance(portrait, Portrait):
            return self.portrait(portrait, options.face, options.face_backend, also, options.enhance)
        if missing := set(also) - set(portrait.indices):
            raise InputError(f"speech-for names face {min(missing)}; this portrait has {list(portrait.indices)}")
        return portrait

    def _write(self, portrait, motions, output, sound, options, clock, progress) -> dict:
        height, width = portrait.picture.shape[:2] if options.frame == "full" else (self.model.size,) * 2
        total = len(motions[0])
        filters = marks.frame_filters(width, height, options.label, options.marks)
        if options.marks:
            finish = marks.signature(Generator(self.name, self.model.fingerprint, options.seed))
        else:
            log.warning("no marks: the law may ask for them (EU AI Act, Article 50; China's labelling rules)")
            finish = None
        with VideoWriter(output, width, height, sound, filters, finish, self.device.type) as writer:
            for done, frame in enumerate(self.draw(portrait, motions, options), 1):
                writer.write(frame)
                if progress:
                    progress("frames", done, total)
        clock("frames")
        size = {"width": width + width % 2, "height": height + height % 2}
        facts = {"output": str(output), "frames": total, "fps": FPS, "seconds": total / FPS, **size}
        rate = {"timings": clock.stages, "real_time_factor": clock.total() / (total / FPS)}
        return {**facts, **rate, "peak_rss_mb": peak_memory(), "model": self.name, "seed": options.seed}


def find_faces(picture: Path, backend: str = "own", device: str = "auto", name: Path = "lite") -> dict:
    """The faces of a picture file as plain JSON types, the largest first, each with what rendering would say of it:
    `doubts`, reasons in words, and whether it would be `refused` for them by the model `name`."""
    talker = load(name, device)
    finder = talker.finder(backend)
    pixels, found = find_portrait(picture, finder, "picture")
    keys, faces = ("box", "score", "yaw", "pitch", "roll", "quality"), []
    for face in found:
        check = talker.model.check_face(face, talker.model.crop(pixels, face), finder)
        doubts = [*([check.doubt] if check.doubt else []), *check.occlusions]
        facts = {key: getattr(face, key) for key in keys} | {"doubts": doubts, "refused": check.refused}
        faces.append(facts | {"landmarks": face.landmarks.tolist()})
    return {"picture": str(picture), "width": pixels.shape[1], "height": pixels.shape[0], "faces": faces}


def keep_inputs(output: Path, *inputs: Path | Portrait) -> None:
    """InputError for an output that would replace an input, or that cannot be written."""
    target = check_output(output)
    for source in inputs:
        is_file = isinstance(source, str | os.PathLike) and target.exists() and os.path.exists(source)
        if is_file and os.path.samefile(target, source):
            raise InputError(f"output is one of the inputs: {str(target)!r}; choose another name")
