"""The whole pipeline, from portrait and speech to video; the only file that knows every step.

Letters: T video frames (25 per second), M = 20 motion numbers.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from anitalker import driving, estimate, rendering, scene
from anitalker.config import ORIGINAL_SIZE, DubOptions, InputError, RenderOptions
from anitalker.dubbing import job
from anitalker.dubbing.people import People
from anitalker.faces import restoration
from anitalker.faces.detection import FaceFinder
from anitalker.faces.verifier import Verifier
from anitalker.media.formats import check_video_output
from anitalker.media.soundtrack import Soundtrack, Source
from anitalker.media.video import probe
from anitalker.models import loading
from anitalker.models.base import Model, PathLike, ProgressCallback
from anitalker.person import tuning
from anitalker.person.tune_options import TuneOptions
from anitalker.photos import read_known_mouths
from anitalker.portrait import Portrait, prepare_portrait, resize_portrait
from anitalker.rendering import RenderFacts
from anitalker.runtime.device import Clock, choose_device
from anitalker.runtime.memory import trim_heap

Progress = ProgressCallback | None  # called with stage, done, total
log = logging.getLogger(__name__)


def load(
    name: PathLike = "lite",
    device: str = "auto",
    stage1: PathLike | None = None,
    stage2: PathLike | None = None,
    hubert: PathLike | None = None,
) -> Talker:
    """Load a model by registry name, weight file or folder, on device auto, cpu, cuda or mps.

    stage1, stage2, hubert: files of the model `original`, see `models.loading.load`. InputError for a name, a file or a
    device that cannot be used.
    """
    torch_device = choose_device(device)
    torch.backends.cudnn.allow_tf32 = False  # all devices shall agree within rounding
    return Talker(loading.load(name, torch_device, stage1, stage2, hubert))


class Talker:
    """A loaded model. Every step is a method; `render` and `reenact` do all steps of a video."""

    def __init__(self, model: Model) -> None:
        self.model, self.device, self.name = model, model.device, model.name
        self._finders: dict[str, FaceFinder] = {}

    def finder(self, backend: str = "own") -> FaceFinder:
        """The face finder of a backend (own or face-alignment), loaded once."""
        if backend not in self._finders:
            self._finders[backend] = loading.load_finder(backend, self.device)
        return self._finders[backend]

    def portrait(
        self,
        picture: PathLike | np.ndarray,
        face: str | int = "largest",
        backend: str = "own",
        also: Iterable[int] = (),
        enhance: str = "",
        size: int | str = RenderOptions.size,
        photos: Sequence[PathLike] = (),
    ) -> Portrait:
        """Find faces in a picture (uint8 [H,W,3], or a file: picture, video, person file) and prepare the chosen ones.

        face: largest, all, or an index; also: indices of more faces; enhance: gfpgan draws the chosen faces again
        before they are prepared; size: as in RenderOptions; faces are found before the picture is reduced; photos: more
        pictures of the same person. InputError where there is no such face, or where it cannot be animated.
        """
        loaders = (lambda: self.enhancer) if enhance else None, lambda: self.verifier
        finder = self.finder(backend)
        portrait = prepare_portrait(self.model, finder, picture, (face, *also), loaders[0], size, photos, loaders[1])
        trim_heap()
        return portrait

    def prepare(self, picture: PathLike | np.ndarray, options: RenderOptions, also: Iterable[int] = ()) -> Portrait:
        """Prepare a portrait as `portrait` does, with the face, enhancement and size that the options ask for."""
        face, backend = options.face, options.face_backend
        return self.portrait(picture, face, backend, also, options.enhance, options.size, options.also)

    def resized(self, portrait: Portrait, size: int | str) -> Portrait:
        """Prepare a portrait again at a smaller size (as in RenderOptions), for previews; motion fits both."""
        return resize_portrait(self.model, portrait, size)

    @functools.cached_property
    def enhancer(self) -> restoration.Network:
        """GFPGAN, loaded once."""
        return restoration.load("gfpgan", self.device)

    @functools.cached_property
    def verifier(self) -> Verifier:
        """Tells whose face it is; loaded once."""
        return Verifier(loading.load_verifier()[1])

    def motion(
        self,
        portrait: Portrait,
        speech: Source | Soundtrack,
        options: RenderOptions = RenderOptions(),
        progress: Progress = None,
        speech_for: Mapping[int, Source] | None = None,
    ) -> list[Tensor]:
        """Generate motion [T,M] of each face from speech (a file, or float32 [N] at 16 kHz); T = ceil(25 seconds).

        speech_for: faces, by index, with recordings of their own; T is then that of the longest recording.
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
        """Draw motion [T,M] of each face: frames, uint8 [H,W,3], of a transparent background [H,W,4], yielded."""
        return scene.draw(self.model, portrait, motions, options)

    def frames(
        self, portrait: Portrait | PathLike, speech: PathLike | np.ndarray, options: RenderOptions = RenderOptions()
    ) -> Iterator[np.ndarray]:
        """Let the portrait speak: frames, uint8 [H,W,3], yielded."""
        portrait = self._ready(portrait, options)
        yield from self.draw(portrait, self.motion(portrait, speech, options), options)

    def encode(
        self, clip: PathLike, face: str | int = "largest", backend: str = "own", progress: Progress = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read motion codes [T,M] and the identity code [D] of a face (largest or an index) that the crop follows."""
        drive = driving.read_motion(self.model, self.finder(backend), clip, face, progress)
        driving.warn_of_lost_frames(~drive.seen)
        return drive.absolute(), drive.identity

    def render(
        self,
        portrait: Portrait | PathLike,
        speech: PathLike,
        output: PathLike,
        options: RenderOptions = RenderOptions(),
        progress: Progress = None,
        speech_for: Mapping[int, PathLike] | None = None,
        on_frame: Callable[[np.ndarray], None] | None = None,
    ) -> RenderFacts:
        """Let the portrait speak a recording: a video of `media.formats`, whole or not at all. Returns the facts.

        speech_for: faces, by index, with recordings of their own; the sound of the video is a mix of all. on_frame: is
        called with each frame, uint8 [H,W,3], before it is marked and written.
        """
        clock, recordings = Clock(), dict(speech_for or {})
        inputs = (speech, *recordings.values())
        check_video_output(output, portrait, *inputs, options=options)
        self.model.check(options)
        track = Soundtrack.read(speech, recordings)
        for sentence in track.warnings():
            log.warning("%s", sentence)
        clock("speech")
        portrait = self._ready(portrait, options, recordings)
        clock("portrait")
        track = track.spoken_by(portrait.indices)
        motions = self.motion(portrait, track, options, progress)
        clock("motion")
        with track.file() as sound:
            return self._write(portrait, motions, output, sound, options, clock, progress, on_frame, inputs)

    def reenact(
        self,
        portrait: Portrait | PathLike,
        clip: PathLike,
        output: PathLike,
        options: RenderOptions = RenderOptions(),
        progress: Progress = None,
        relative: bool = True,
        driver_face: str | int = "largest",
        on_frame: Callable[[np.ndarray], None] | None = None,
    ) -> RenderFacts:
        """Let the portrait move like a face in a video (driver_face: largest or an index), to a video with its sound.

        relative: the head moves from the portrait's own pose; else its pose, like the expression, is the driver's.
        on_frame: as in `render`. Returns the facts for --json.
        """
        clock = Clock()
        check_video_output(output, portrait, clip, options=options)
        portrait = self._ready(portrait, options)
        clock("portrait")
        drive = driving.read_motion(self.model, self.finder(options.face_backend), clip, driver_face, progress)
        clock("encode")
        motions = driving.motions_of(self.model, drive, portrait.faces, relative)
        sound = clip if probe(clip).audio_codec else None
        return self._write(portrait, motions, output, sound, options, clock, progress, on_frame, (clip,))

    def dub(
        self,
        video: PathLike,
        speech: PathLike | None,
        output: PathLike,
        options: RenderOptions = RenderOptions(size=ORIGINAL_SIZE),
        dubbing: DubOptions = DubOptions(),
        progress: Progress = None,
        speech_for: Mapping[int, PathLike] | None = None,
        on_frame: Callable[[np.ndarray], None] | None = None,
    ) -> RenderFacts:
        """Let people in a video say other words: an MP4 of the video's own size and rate. Returns the facts for --json.

        speech: a recording of the face that options.face chooses; None where dubbing.segments gives lines. options: of
        `batch.table.DUB_OPTIONS` count; also: of people in it. speech_for, on_frame: see `render`.
        """
        finder, load_verifier = self.finder(options.face_backend), lambda: self.verifier
        known = read_known_mouths(self.model, finder, options.also, load_verifier)
        settings = (options, dubbing, progress, speech_for, on_frame, known)
        return job.dub(self.model, People(finder, load_verifier), video, speech, output, *settings)

    def tune(
        self, videos: Sequence[PathLike], output: PathLike, options: TuneOptions, progress: Progress = None
    ) -> tuning.TuneFacts:
        """Make a person file of videos, or folders of videos, of somebody who talks to the camera: `person.tuning`."""
        return tuning.tune(self.model, self.finder(), lambda: self.verifier, videos, output, options, progress)

    def animate(
        self,
        portrait: Portrait,
        motions: list[Tensor],
        output: PathLike,
        options: RenderOptions = RenderOptions(),
        progress: Progress = None,
        on_frame: Callable[[np.ndarray], None] | None = None,
    ) -> RenderFacts:
        """Write motion [T,M] of each face, of any kind, as a silent video; on_frame: as in `render`. Returns facts."""
        return self._write(portrait, motions, output, None, options, Clock(), progress, on_frame)

    def _ready(self, portrait: Portrait | PathLike, options: RenderOptions, also: Iterable[int] = ()) -> Portrait:
        if not isinstance(portrait, Portrait):
            return self.prepare(portrait, options, also)
        if missing := set(also) - set(portrait.indices):
            raise InputError(f"speech-for names face {min(missing)}; this portrait has {list(portrait.indices)}")
        return portrait

    def _write(
        self,
        portrait: Portrait,
        motions: list[Tensor],
        output: PathLike,
        sound: PathLike | None,
        options: RenderOptions,
        clock: Clock,
        progress: Progress,
        on_frame: Callable[[np.ndarray], None] | None = None,
        inputs: Sequence[PathLike] = (),
    ) -> RenderFacts:
        height, width = portrait.picture.shape[:2] if options.frame == "full" else (self.model.size,) * 2
        shape = (len(motions[0]), height, width)
        frames = estimate.announced(self.draw(portrait, motions, options), shape[0])
        frames, options = rendering.shown_to(on_frame, frames), replace(options, size=portrait.size)
        more = {"consent": portrait.consent, "inputs": (*portrait.files, *inputs)}
        return rendering.write_video(self.model, frames, shape, output, sound, options, clock, progress, **more)
