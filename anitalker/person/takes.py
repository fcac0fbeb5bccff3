"""Videos of one person, followed frame by frame: the face, what it shows beyond its own neutral face, and the speech.

Letters: n frames of a video, T frames at 25 per second, N = 468 landmarks, M = 20 motion numbers.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anitalker.config import FPS, POSE_SIZE, SAMPLE_RATE, InputError
from anitalker.dubbing.people import People
from anitalker.dubbing.stretches import follow
from anitalker.dubbing.tracks import Track
from anitalker.faces.crop import Crop, recrop
from anitalker.faces.landmarks import eye_opening, fit_pose, lip_opening
from anitalker.files import existing_file
from anitalker.media.audio_checks import frame_power, other_sound
from anitalker.media.clip import Clip, frames_of, open_clip
from anitalker.media.video import probe, read_audio
from anitalker.models.base import DubbingModel, PathLike, ProgressCallback

MIN_SECONDS, MAX_SECONDS = 20.0, 300.0  # of a face that is seen, in all videos together
MIN_SPEECH_SECONDS = 8.0  # below it, how somebody speaks is not learned
OTHERS_SHARE = 0.1  # of the frames, in which somebody else may be the largest face
DIFFERENT, DOUBTFUL = 0.2, 0.4  # cosine of embeddings: below, it is somebody else; it may be
ALIKE_SIZE = 0.5  # of the largest face: somebody else of this size is in the way
SOUNDING_DBFS = -50.0
VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")
CHUNK = 64  # frames whose geometry is computed at once
TURN = 0.35  # radians of head turn at which a frame counts half for the neutral face
log = logging.getLogger(__name__)


@dataclass
class Take:
    """A video in which one person is followed.

    free [n] bool: frames whose face is seen, looks ahead and is not covered; place [n,3]: x, y and side of the crop in
    pixels; landmarks [n,N,3] in crop widths, float16; codes [n,M] as read from the pixels, zero where coded [n] is
    False; speech: samples float32 at 16 kHz, empty where nobody is heard; motion [n,M]: filled in by `settle`.
    """

    clip: Clip
    free: np.ndarray
    coded: np.ndarray
    place: np.ndarray
    landmarks: np.ndarray
    codes: np.ndarray
    embedding: np.ndarray
    speech: np.ndarray
    motion: np.ndarray

    @property
    def name(self) -> str:
        """Of its file."""
        return self.clip.path.name

    def points(self, frames: np.ndarray | slice) -> np.ndarray:
        """Landmarks float32 [k,N,3] of some frames."""
        return self.landmarks[frames].astype(np.float32)

    def at_speech(self, values: np.ndarray) -> np.ndarray:
        """Values [n,...] of its frames at 25 per second: [T,...]."""
        count = round(len(values) * FPS / float(self.clip.fps))
        numbers = np.round(np.arange(count) * float(self.clip.fps) / FPS).astype(int)
        return values[numbers.clip(0, len(values) - 1)]


def find_videos(sources: Sequence[PathLike]) -> list[Path]:
    """Files, and the videos in folders by name; InputError where there are none."""
    files: list[Path] = []
    for source in sources:
        path = Path(source)
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES)
            if not inside:
                raise InputError(f"folder {str(source)!r} has no video; allowed are {', '.join(VIDEO_SUFFIXES)}")
            files += inside
        else:
            files.append(existing_file(path, "video"))
    if not files:
        raise InputError("no video came; give one or more, or a folder of them")
    return files


def watch(
    model: DubbingModel,
    make_people: Callable[[], People],
    sources: Sequence[PathLike],
    progress: ProgressCallback | None = None,
) -> list[Take]:
    """Follow the person of all videos. Memory: 3 kB a frame.

    InputError where a video shows several people, another person than the first one, or all together show a face for
    less than MIN_SECONDS.
    """
    takes: list[Take] = []
    left = MAX_SECONDS
    for file in find_videos(sources):
        if left < 1:
            log.warning("%s is left out: the first %.0f s of all videos are enough", file.name, MAX_SECONDS)
            continue
        take = _watch(model, make_people(), file, left, progress)
        if takes:
            _check_same(takes[0], take)
        takes.append(take)
        left -= take.clip.seconds
    seconds = sum(take.free.sum() / float(take.clip.fps) for take in takes)
    if seconds < MIN_SECONDS:
        raise InputError(
            f"a face is seen for {seconds:.0f} s in all; give at least {MIN_SECONDS:.0f} s in which it looks ahead"
        )
    return takes


def _watch(model: DubbingModel, people: People, file: Path, seconds: float, progress: ProgressCallback | None) -> Take:
    clip = open_clip(file)
    if clip.seconds > seconds:
        clip = open_clip(file, 0.0, seconds)
    needed = np.ones(clip.frames, bool)
    tracks = follow(
        model,
        people,
        lambda start, stop: frames_of(clip, np.arange(start, stop)),
        needed,
        float(clip.fps),
        progress=progress,
    )
    persons = sorted({track.person for track in tracks})
    seen = {p: sum(sum(track.seen) for track in tracks if track.person == p) for p in persons}
    main = max(persons, key=lambda p: seen[p])
    others = sum(seen.values()) - seen[main]
    if others > OTHERS_SHARE * clip.frames:
        raise InputError(
            f"video shows {len(persons)} people: {file.name!r}; give one that shows one person, or cut the others out"
        )
    return _joined(model, clip, [track for track in tracks if track.person == main], people.embedding(main), file)


def _joined(model: DubbingModel, clip: Clip, tracks: list[Track], embedding: np.ndarray, file: Path) -> Take:
    count, size = clip.frames, model.space.config.motion_size
    free, coded = np.zeros(count, bool), np.zeros(count, bool)
    place, codes = np.zeros((count, 3), np.float32), np.zeros((count, size), np.float32)
    landmarks = np.zeros((count, *model.space.canonical.shape), np.float16)
    for track in tracks:
        for start in range(0, len(track), CHUNK):
            stop = min(start + CHUNK, len(track))
            there = slice(track.first + start, track.first + stop)
            rows, points, expression = track.read(start, stop)
            place[there], landmarks[there] = rows, points
            shown = torch.tensor(points, device=model.device)
            seen = np.array(track.seen[start:stop], bool)
            if seen.any():
                codes[there][seen, :POSE_SIZE] = fit_pose(shown[seen], model.space.canonical).cpu().numpy()
            codes[there][:, POSE_SIZE:] = expression
        whole = slice(track.first, track.first + len(track))
        free[whole], coded[whole] = track.free(), np.frombuffer(bytes(track.coded), bool)
    speech = read_speech(model, file, clip.seconds)
    return Take(clip, free, coded & free, place, landmarks, codes, embedding, speech, np.zeros_like(codes))


def read_speech(model: DubbingModel, file: PathLike, seconds: float) -> np.ndarray:
    """The speech of a video, float32 [N]; empty, with a warning, where it has no sound, or nobody is heard in it."""
    name = os.path.basename(file)
    if probe(file).audio_codec is None:
        log.warning("%s has no sound: how the lips follow speech stays as usual", name)
        return np.zeros(0, np.float32)
    samples = read_audio(file)[: round(seconds * SAMPLE_RATE)]
    power = frame_power(samples)
    sounding = 10 * np.log10(power + 1e-12) > SOUNDING_DBFS
    spoken = sounding.sum() / FPS
    other = other_sound(samples, power, sounding) if sounding.any() else "nothing is heard"
    if other is None and spoken < MIN_SPEECH_SECONDS:
        other = f"speech is heard for {spoken:.0f} s, which is too little"
    if other is not None:
        log.warning("%s: %s; how the lips follow speech stays as usual", name, other)
        return np.zeros(0, np.float32)
    return samples


def _check_same(first: Take, other: Take) -> None:
    """InputError, or a warning, where two videos show different people."""
    alike = float(first.embedding @ other.embedding)
    if alike < DIFFERENT:
        raise InputError(f"{other.name!r} shows somebody else than {first.name!r}; give videos of one person")
    if alike < DOUBTFUL:
        log.warning("%s may show somebody else than %s", other.name, first.name)


@torch.inference_mode()
def settle(model: DubbingModel, takes: Sequence[Take]) -> Tensor:
    """The person's neutral face [N,3] in face heights, and with it the motion of every frame (`Take.motion`).

    A frame's neutral face is what `MotionSpace.neutral` makes of it; those of frames that look ahead count more. Motion
    is then measured: the rigid pose, and what the landmarks have beyond the neutral face.
    """
    space, device = model.space, model.device
    total, weights = torch.zeros_like(space.canonical), 0.0
    for take in takes:
        for frames in np.array_split(np.flatnonzero(take.coded), max(1, take.coded.sum() // CHUNK)):
            codes = torch.tensor(take.codes[frames], device=device)
            weight = turn_weights(codes)
            neutral = space.neutral(torch.tensor(take.points(frames), device=device), codes)
            total += (weight[:, None, None] * neutral).sum(0)
            weights += float(weight.sum())
    neutral = total / max(weights, 1e-9)
    for take in takes:
        for frames in np.array_split(np.flatnonzero(take.free), max(1, take.free.sum() // CHUNK)):
            codes = torch.tensor(take.codes[frames], device=device)
            points = torch.tensor(take.points(frames), device=device)
            take.motion[frames] = space.beyond(neutral[None], points, codes).cpu().numpy()
    return neutral


def turn_weights(codes: Tensor) -> Tensor:
    """How much frames with codes [n,M] count for the neutral face: [n]; those that look ahead count more."""
    return 1 / (1 + codes[:, :2].square().sum(1) / TURN**2)


def openings(take: Take) -> tuple[np.ndarray, np.ndarray]:
    """Openings of lips [n], in face heights, and of eyes [n] (aspect ratio); NaN where the face is not free."""
    lips, eyes = np.full(len(take.free), np.nan, np.float32), np.full(len(take.free), np.nan, np.float32)
    points = take.points(take.free)
    lips[take.free], eyes[take.free] = lip_opening(points), eye_opening(points)
    return lips, eyes


def crops_of(take: Take, frames: np.ndarray) -> np.ndarray:
    """The face crops of some frames, ascending: uint8 [k,256,256,3]."""
    shape = (take.clip.height, take.clip.width)
    images = []
    for number, picture in zip(frames, frames_of(take.clip, frames), strict=True):
        x, y, side = (float(value) for value in take.place[number])
        empty = Crop(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 3), np.float32), (x, y), side, shape)
        images.append(recrop(picture, empty).image)
    return np.stack(images)
