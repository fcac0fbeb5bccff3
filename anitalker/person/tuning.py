"""From videos or photos of a person to a person file: follow, choose, measure, train, write.

Letters: N = 468 landmarks, M = 20 motion numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TypedDict, cast

import numpy as np
import torch
from torch import Tensor

from anitalker.config import FPS, InputError
from anitalker.decoder.mouth_patch import cut_patch, place_patch
from anitalker.dubbing.people import People
from anitalker.faces.crop import Crop
from anitalker.faces.detection import Face, FaceFinder
from anitalker.faces.verifier import Verifier
from anitalker.files import check_output, check_output_is_no_input
from anitalker.media.clip import frames_of
from anitalker.media.portrait_file import find_portrait
from anitalker.models.base import DubbingModel, Model, PathLike, PersonTraits, ProgressCallback
from anitalker.models.lite import Lite, LiteFace
from anitalker.motion.manner import USUAL
from anitalker.person.from_photos import find_photos, learn_from_photos
from anitalker.person.lip_tuning import LipTuning, Spoken, listen, tune_lips
from anitalker.person.measured_manner import fit_lips, measure_manner
from anitalker.person.mouth_tuning import MouthLoss, MouthTuning, see_targets, tune_mouth
from anitalker.person.person_file import (
    SUFFIX,
    PersonFile,
    as_stored,
    check_consent,
    read_person,
    write_person,
)
from anitalker.person.selection import Frames, choose_portrait, choose_references, pick_frames
from anitalker.person.takes import ALIKE_SIZE, DIFFERENT, DOUBTFUL, Take, openings, settle, watch
from anitalker.person.tune_options import TuneOptions
from anitalker.runtime.device import Clock, peak_memory
from anitalker.runtime.transfer import to_bytes, to_tensors
from anitalker.weights.registry import sha256

LEARNED_APART = 1  # sampled frames on both sides of a reference that are no targets
CHECKED_FRAMES = 8  # of each video, in which nobody else may be half as large
log = logging.getLogger(__name__)


class TuneFacts(TypedDict):
    """What `--json` prints of a person file.

    seconds: of video in which the face is free; speech_seconds; photos: from which it was made, or 0; references:
    beside the portrait; mouth, lips: scores of the held-out tail before and after (None: not tuned); manner; finished:
    False where the training was broken off.
    """

    output: str
    bytes: int
    seconds: float
    speech_seconds: float
    photos: int
    references: int
    mouth: tuple[float, float] | None
    lips: tuple[float, float] | None
    manner: dict
    steps: int
    finished: bool
    consent: str
    model: str
    timings: dict[str, float]
    peak_rss_mb: float | None
    exit_status: int


@dataclass(frozen=True)
class Base:
    """What is known before anything is trained: the portrait as the file will hold it, its crop, and traits."""

    picture: np.ndarray
    crop: Crop
    traits: PersonTraits
    excluded: np.ndarray  # sampled frames that are no targets


def tune(
    model: Model,
    finder: FaceFinder,
    load_verifier: Callable[[], Verifier],
    videos: Sequence[PathLike],
    output: PathLike,
    options: TuneOptions,
    progress: ProgressCallback | None = None,
) -> TuneFacts:
    """Make a person file of videos, of photos, or of folders with them.

    Ctrl+C during the training keeps the best weights so far; the same call goes on where a broken one ended. InputError
    for what cannot be used; see docs/avatar.md.
    """
    clock, consent = Clock(), check_consent(options.consent)
    target = check_output(output, SUFFIX)
    check_output_is_no_input(target, *videos, options.portrait)
    if not isinstance(model, Lite) or model.mouth is None:
        raise InputError(f"model {model.name} cannot be tuned: it has no mouth synthesiser; take --model lite")
    photos = find_photos(videos)
    if photos:
        if options.portrait is not None and seconds_of(options.portrait) is not None:
            raise InputError(f"portrait is {options.portrait} s, but photos came; give a picture")
        of_photos = learn_from_photos(model, finder, load_verifier, photos, options.portrait, progress)
        clock("pictures")
        facts = {
            "sources": [sha256(photo) for photo in photos],
            "date": date.today().isoformat(),
            "photos": len(photos),
        }
        person = PersonFile(of_photos.picture, of_photos.traits, consent, model.fingerprint, facts)
        write_person(target, person)
        return told_facts(output, target, person, model, clock)
    filmed = cast(DubbingModel, model)  # pyright does not take a cached_property for the protocol's property
    takes = watch(filmed, lambda: People(finder, load_verifier), videos, progress)
    for take in takes:
        check_alone(finder, take)
    clock("faces")
    neutral = settle(filmed, takes)
    frames = pick_frames(takes, progress)
    base = prepare(model, finder, load_verifier, takes, frames, neutral, options.portrait)
    clock("pictures")
    spoken = [said for take in takes if (said := listen(filmed, take, openings(take)[0])) is not None]
    for said in spoken:
        if said.lag:
            log.warning("the sound comes %.2f s late: it was shifted for the measurement", said.lag / FPS)
    lips = tune_lips(filmed, spoken)
    traits = replace(base.traits, lips=lips.layer if lips else {})
    face = model.prepare(base.picture, base.crop, (), traits)
    traits = replace(traits, manner=measure_manner(model, finder, face, takes, spoken, progress))
    clock("speech")
    facts = {"sources": [sha256(take.clip.path) for take in takes], "portrait": portrait_key(options.portrait)}
    earlier = unfinished(target, model.fingerprint, facts)
    spent = 0.0 if earlier is None else float(earlier.facts.get("training_seconds", 0))
    tuned = train(model, base, frames, face, 60 * options.minutes - spent, earlier, progress)
    traits, tuned = measure_again(model, finder, base, replace(traits, mouth=tuned.changes), spoken, tuned, progress)
    clock("training")
    person = PersonFile(base.picture, traits, consent, model.fingerprint)
    person = replace(person, facts=facts | statistics(takes, spoken, lips, tuned, spent))
    write_person(target, person)
    return told_facts(output, target, person, model, clock, tuned, lips)


def measure_again(
    model: Lite,
    finder: FaceFinder,
    base: Base,
    traits: PersonTraits,
    spoken: Sequence[Spoken],
    tuned: MouthTuning,
    progress: ProgressCallback | None = None,
) -> tuple[PersonTraits, MouthTuning]:
    """Measure the lips again after the training: other lips are drawn, so other openings are seen.

    Ctrl+C leaves that to the next call of `tune`; what was trained is kept.
    """
    if not (spoken and tuned.changes and tuned.finished):
        return traits, tuned
    face = model.prepare(base.picture, base.crop, (), traits)
    try:
        return replace(traits, manner=fit_lips(model, finder, face, spoken, 1, progress)), tuned
    except KeyboardInterrupt:
        return traits, replace(tuned, finished=False)


def told_facts(
    output: PathLike,
    target: Path,
    person: PersonFile,
    model: Lite,
    clock: Clock,
    tuned: MouthTuning | None = None,
    lips: LipTuning | None = None,
) -> TuneFacts:
    """What is told of a person file that was written to `target`."""
    manner = person.traits.manner
    return {
        "output": str(output),
        "bytes": target.stat().st_size,
        "seconds": person.facts.get("seconds", 0.0),
        "speech_seconds": person.facts.get("speech_seconds", 0.0),
        "photos": person.facts.get("photos", 0),
        "references": len(person.traits.patches),
        "mouth": (tuned.before, tuned.after) if tuned and tuned.changes else None,
        "lips": (lips.before, lips.after) if lips and lips.layer else None,
        "manner": {name: getattr(manner, name) for name in ("lips", "head", "blink_seconds")},
        "steps": tuned.steps if tuned else 0,
        "finished": tuned.finished if tuned else True,
        "consent": person.consent,
        "model": model.name,
        "timings": clock.stages,
        "peak_rss_mb": peak_memory(),
        "exit_status": 0 if tuned is None or tuned.finished else 130,
    }


def check_alone(finder: FaceFinder, take: Take) -> None:
    """InputError where somebody else is about as large in most of some frames."""
    numbers = np.flatnonzero(take.free)
    numbers = np.unique(numbers[np.linspace(0, len(numbers) - 1, CHECKED_FRAMES).astype(int)]) if len(numbers) else []
    crowded = 0
    for picture in frames_of(take.clip, np.array(numbers, int)):
        sizes = sorted((face.size for face in finder.find(picture)), reverse=True)
        crowded += len(sizes) > 1 and sizes[1] > ALIKE_SIZE * sizes[0]
    if crowded > len(numbers) / 2:
        raise InputError(f"video shows two people: {take.name!r}; give one that shows one person, or cut the other out")


def prepare(
    model: Lite,
    finder: FaceFinder,
    load_verifier: Callable[[], Verifier],
    takes: Sequence[Take],
    frames: Frames,
    neutral: Tensor,
    wanted: str | None,
) -> Base:
    """Choose portrait and references. wanted: see TuneOptions.portrait."""
    chosen: int | None = None
    if wanted is None:
        chosen = choose_portrait(frames)
        picture = full_frame(takes[frames.take[chosen]], int(frames.number[chosen]))
    elif (second := seconds_of(wanted)) is not None:
        take = takes[0]
        number = round(second * float(take.clip.fps))
        if not 0 <= number < len(take.free) or not take.free[number]:
            raise InputError(
                f"portrait is {wanted} s, where {take.name!r} shows no face that looks ahead; choose another"
            )
        picture = full_frame(take, number)
    else:
        picture = find_portrait(wanted, finder)[0]
    picture = as_stored(picture)
    crop = model.crop(picture, _face(finder, picture, wanted))
    embedding = load_verifier()(crop.image[None], crop.landmarks[None])[0]
    alike = float(embedding @ takes[0].embedding)
    if alike < DIFFERENT and wanted is not None:
        raise InputError(f"portrait {wanted!r} shows somebody else than {takes[0].name!r}; give one of the same person")
    if alike < DOUBTFUL:
        log.warning("the portrait may show somebody else than %s", takes[0].name)
    numbers = choose_references(frames, chosen)
    pictures = to_tensors(torch.from_numpy(frames.crops[numbers]))
    points = torch.from_numpy(frames.landmarks[numbers])
    patches = to_bytes(cut_patch(pictures, place_patch(points)))
    traits = PersonTraits(patches, points, torch.from_numpy(frames.motion[numbers]), neutral.cpu(), USUAL)
    near = [numbers + offset for offset in range(-LEARNED_APART, LEARNED_APART + 1)]
    return Base(picture, crop, traits, np.unique(np.concatenate(near)))


def full_frame(take: Take, number: int) -> np.ndarray:
    """One frame of a video, uint8 [H,W,3]."""
    return next(iter(frames_of(take.clip, np.array([number]))))


def portrait_key(wanted: str | None) -> str:
    """What tells a portrait from another in a person file: seconds of the video, the hash of a picture, or nothing."""
    return "" if wanted is None else wanted if seconds_of(wanted) is not None else sha256(Path(wanted))


def seconds_of(wanted: str) -> float | None:
    """The time of the video that a portrait option names; None where it names a picture."""
    try:
        return float(wanted)
    except ValueError:
        return None


def _face(finder: FaceFinder, picture: np.ndarray, wanted: str | None) -> Face:
    faces = finder.find(picture)
    if not faces:
        raise InputError(f"portrait {wanted or 'of the video'!r} shows no face; give another with --portrait")
    return faces[0]


def unfinished(target: Path, fingerprint: str, facts: Mapping[str, object]) -> PersonFile | None:
    """The person file that a broken run with the same videos and portrait has left, if there is one."""
    if not target.exists():
        return None
    try:
        person = read_person(target)
    except InputError:
        return None
    same = all(person.facts.get(key) == value for key, value in facts.items())
    return person if same and person.model == fingerprint and person.facts.get("finished") is False else None


def train(
    model: Lite,
    base: Base,
    frames: Frames,
    face: LiteFace,
    seconds: float,
    earlier: PersonFile | None,
    progress: ProgressCallback | None,
) -> MouthTuning:
    """Tune the mouth synthesiser for the portrait and the references that the file will hold."""
    assert model.mouth is not None
    judged = np.flatnonzero(frames.tail)
    rows = np.union1d(np.setdiff1d(np.arange(len(frames)), base.excluded), judged)
    targets = see_targets(model, face, frames, rows)
    loss = MouthLoss(model.space.encoder).to(model.device)
    start = earlier.traits.mouth if earlier else None
    return tune_mouth(model.mouth, loss, targets, frames.tail[rows], seconds, start, progress=progress)


def statistics(
    takes: Sequence[Take], spoken: Sequence[Spoken], lips: LipTuning | None, tuned: MouthTuning, spent: float
) -> dict:
    """What the file tells about how it was made."""
    return {
        "date": date.today().isoformat(),
        "seconds": round(sum(float(take.free.sum() / take.clip.fps) for take in takes), 2),
        "speech_seconds": round(sum(len(said.free) for said in spoken) / FPS, 2),
        "sound_late_frames": [said.lag for said in spoken],
        "lips_tail": None if lips is None else [round(lips.before, 5), round(lips.after, 5)],
        "mouth_tail": [round(tuned.before, 5), round(tuned.after, 5)],
        "training_seconds": round(spent + tuned.seconds, 1),
        "training_steps": tuned.steps,
        "finished": tuned.finished,
    }
