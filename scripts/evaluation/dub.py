"""Dubbing: a filmed person says what somebody else said, then again what was filmed, then nothing.

Letters: T frames, P people. The clips of people who are heard and seen speaking, their first seconds.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from anitalker.config import SAMPLE_RATE, InputError
from anitalker.faces.landmarks import CHIN, face_height, lip_opening
from anitalker.media.clip import filmed_frames, open_clip
from anitalker.media.video import read_frames
from anitalker.media.writer import VideoWriter
from anitalker.media.yuv import FilmedFrame
from anitalker.runtime.transfer import to_pictures
from encoders.audio import SAMPLES_PER_FRAME
from encoders.image import to_tensor
from scripts.contact_sheet import evenly
from scripts.evaluation.clips import EvalClip, cut_to_sound, first_frames
from scripts.evaluation.face_halves import NOSE_BASE, at_rest, border_change, half_psnr, luma, split_face, trembling
from scripts.evaluation.identity import identity_report
from scripts.evaluation.mediapipe_reader import MediaPipeReader
from scripts.evaluation.metrics import columns, mean, pearson, row_means
from scripts.evaluation.people import person_means, ratio
from scripts.evaluation.perception import PARTS, patch, squares
from scripts.evaluation.reenactment import partners, similarities
from scripts.evaluation.session import Session
from scripts.evaluation.speaking import is_heard_and_seen

MOST_FRAMES = 100  # of a clip: 4 s
LEAST_FRAMES = 25
LOWER_FACE = (NOSE_BASE, CHIN), 0.6  # points and side in face heights of a square
CLOSE_UP, CLOSE_UP_PIXELS = 0.9, 288  # side of the same on the sheets, and how many pixels show it
COLUMNS = 8  # of the sheets
LEAST_REST = 5  # frames of lips at rest, fewer say nothing

Readers = dict[str, Callable[[np.ndarray], np.ndarray]]  # prefix of the report's keys -> reader of landmarks


@dataclass(frozen=True)
class Voice:
    """What somebody said: person, speech [N] at 16 kHz, and the opening of their lips [T] in step with it."""

    person: str
    speech: np.ndarray
    opening: np.ndarray


@dataclass(frozen=True)
class Videos:
    """What was made of a clip, uint8 [T,S,S,3]: dubbed with a voice, and which share [T,S,S] of each pixel was redrawn;
    with silence; dubbed back; its first frame speaking with the voice, and [n,S,S,3] with the clip's own speech."""

    dubbed: np.ndarray
    share: np.ndarray
    silent: np.ndarray
    back: np.ndarray
    rendered: np.ndarray
    rendered_back: np.ndarray


@dataclass(frozen=True)
class MeasuredDub:
    """Scores of a clip; pairs: (dubbed, source) of what is compared as ratios; similar: see `similarities`."""

    row: dict
    scores: dict[str, float]
    pairs: dict[str, tuple[float, float]]
    similar: dict[str, list[float]]


def run(session: Session) -> dict:
    """`dub` of the report (docs/evaluation.md): filmed people, and under `generated` the same of generated ones."""
    if session.model.dubber is None:
        session.progress("this model cannot dub")
        return {}
    readers: Readers = {"": session.model.landmarks}
    if session.arguments.landmarks == "mediapipe":
        readers["mediapipe_"] = MediaPipeReader()
    voices = [Voice(clip.row["identity"], clip.speech, lip_opening(clip.landmarks)) for clip in speakers(session)]
    clips = []
    for clip, other in zip(speakers(session), partners([voice.person for voice in voices]), strict=True):
        measured = None if other is None else stored_or_dubbed(session, clip, voices[other], readers)
        if measured is not None:
            clips.append(measured)
    groups = {kind: [clip for clip in clips if clip.row["generated"] == kind] for kind in ("no", "yes")}
    report = group_report(session, groups["no"]) if groups["no"] else {}
    if groups["yes"]:
        report["generated"] = group_report(session, groups["yes"])
    return {"dub": report} if report else {}


def speakers(session: Session) -> Iterator[EvalClip]:
    """The clips that are heard and seen, of at most MOST_FRAMES."""
    for clip in session.clips(speech=True):
        if is_heard_and_seen(clip.row):
            clip = cut_to_sound(clip)
            if len(clip.frames) >= LEAST_FRAMES:
                yield first_frames(clip, MOST_FRAMES)


def stored_or_dubbed(session: Session, clip: EvalClip, voice: Voice, readers: Readers) -> MeasuredDub | None:
    """As `dub_clip`. With --out the scores are kept there, and --resume takes those that were measured with the same
    weights, clip, speech, stride and readers."""
    arguments, path = session.arguments, Path(session.arguments.out or "") / "parts" / "dub" / f"{clip.row['id']}.json"
    inputs = hashlib.sha256(clip.frames.tobytes() + clip.speech.tobytes() + voice.speech.tobytes()).hexdigest()
    settings = [getattr(session.model, "sha256", ""), arguments.stride, list(readers), inputs]
    if arguments.resume and path.is_file():
        stored = json.loads(path.read_text())
        if stored.pop("settings") == settings:
            return MeasuredDub(clip.row, **stored)
    measured = dub_clip(session, clip, voice, readers)
    if arguments.out and measured is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        values = {"scores": measured.scores, "pairs": measured.pairs, "similar": measured.similar}
        path.write_text(json.dumps({"settings": settings} | values))
    return measured


def dub_clip(session: Session, clip: EvalClip, voice: Voice, readers: Readers) -> MeasuredDub | None:
    """Dub a clip with another person's speech, cut to the shorter, and measure it; None where no face is seen."""
    clip, name = first_frames(clip, len(voice.opening)), clip.row["id"]
    picks = np.arange(1, len(clip.frames), session.arguments.stride)
    try:
        videos = make_videos(session, clip, voice, picks)
    except InputError as error:
        session.progress(f"{name} is left out: {error}")
        return None
    share = videos.share
    scores: dict[str, float] = {"redrawn": mean(share.any((1, 2)))}
    pairs = {"border_change": (border_change(videos.dubbed, share), border_change(clip.frames, share))}
    read_videos = {"filmed": clip.frames, "dubbed": videos.dubbed, "silent": videos.silent, "rendered": videos.rendered}
    points = {prefix: {key: read(x) for key, x in read_videos.items()} for prefix, read in readers.items()}
    for prefix, by_video in points.items():
        scores |= {f"{prefix}{key}": value for key, value in lip_scores(clip, voice, by_video).items()}
        trembles = flicker(clip, by_video["silent"], by_video["filmed"], session.model.canonical)
        pairs |= {f"{prefix}{key}": value for key, value in trembles.items()}
    halves = [split_face(labels, clip.frames.shape[2]) for labels in clip.landmarks]
    upper, lower = (np.stack(masks) for masks in zip(*halves, strict=True))
    scores |= upper_face(clip.frames, videos.dubbed, upper)
    target, labels = clip.frames[picks], clip.landmarks[picks]
    versions = {"": videos.back[picks], "frozen_": videos.silent[picks], "render_": videos.rendered_back}
    for prefix, frames in versions.items():
        values = lower_face(session, frames, target, labels, lower[picks])
        scores |= {f"{prefix}{key}": value for key, value in values.items()}
    similar: dict[str, np.ndarray] = {}
    if session.networks.verifier is not None:
        similar = similarities(session.networks, videos.dubbed[picks], points[""]["dubbed"][picks], target, labels)
    save_close_ups(session, f"dub-{name}", clip.landmarks, {**read_videos, "dubbed back": videos.back})
    shown = (f"{key} {scores[key]:.3g}" for key in ("lip_correlation", "render_lip_correlation", "lower_face_psnr"))
    session.progress(f"dub of {name}: {', '.join(shown)}")
    return MeasuredDub(clip.row, scores, pairs, {key: values.tolist() for key, values in similar.items()})


def make_videos(session: Session, clip: EvalClip, voice: Voice, picks: np.ndarray) -> Videos:
    """Dub a clip, and let its first frame speak; picks [n]: frames of the latter with the clip's own speech."""
    dubber, model, count = session.model.dubber, session.model, len(clip.frames)
    tracks = dubber.follow(clip.frames)
    dubbed = dubber.dub(clip.frames, tracks, voice.speech)
    silent = dubber.dub(clip.frames, tracks, np.zeros(SAMPLE_RATE, np.float32))
    back = dubber.dub(dubbed, dubber.follow(dubbed), clip.speech)
    source = session.still_source(clip.frames[0])
    motions = [model.speak(source, x[: count * SAMPLES_PER_FRAME], 0)[:count] for x in (voice.speech, clip.speech)]
    rendered, rendered_back = model.render(source, motions[0]), model.render(source, motions[1][picks])
    share = dubber.region(clip.frames, tracks, voice.speech)
    return Videos(dubbed, share, silent, back, rendered, rendered_back)


def lip_scores(clip: EvalClip, voice: Voice, points: dict[str, np.ndarray]) -> dict[str, float]:
    """Correlations of the lips in points [T,468,3] of `dubbed` and `rendered` with those of the voice and of the clip,
    and how far they move."""
    own, truth = lip_opening(clip.landmarks), voice.opening[: len(clip.frames)]
    scores = {}
    for prefix, video in (("", "dubbed"), ("render_", "rendered")):
        opening = lip_opening(points[video])
        scores[f"{prefix}lip_correlation"] = pearson(opening, truth)
        scores[f"{prefix}leak"] = pearson(opening, own)
        scores[f"{prefix}spread"] = 100 * float(opening.std())
    return scores | {"behind_render": scores["render_lip_correlation"] - scores["lip_correlation"]}


def flicker(
    clip: EvalClip, silent: np.ndarray, filmed: np.ndarray, canonical: torch.Tensor
) -> dict[str, tuple[float, float]]:
    """Trembling below the nose in points [T,468,3] of the clip dubbed with silence, and in the clip: at the frames
    where the filmed lips are at rest (left out where they hardly are), and over all frames."""
    curves = [trembling(points, canonical) for points in (silent, filmed)]
    rest = at_rest(lip_opening(clip.landmarks))[1:-1]
    over = {"flicker_all": np.ones_like(rest), "flicker": rest}
    return {
        key: (mean(curves[0][1:-1][frames]), mean(curves[1][1:-1][frames]))
        for key, frames in over.items()
        if frames.sum() >= LEAST_REST
    }


def upper_face(source: np.ndarray, dubbed: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    """PSNR above the nose's base against the source, masks bool [T,S,S], in RGB and in luma: of the dubbed video as a
    user gets it, of the source encoded in the same way, and, in RGB, before the encoder."""
    film = stored(source)
    frames = np.stack([frame.rgb for frame in film.frames])
    drawn = np.where((dubbed == source).all(-1, keepdims=True), frames, dubbed)
    scores = {"upper_face_psnr_lossless": half_psnr(dubbed, source, masks)}
    for suffix, shown in {"": drawn, "_encoder": frames}.items():
        read = encoded(shown, film.frames)
        scores[f"upper_face_psnr{suffix}"] = half_psnr(read, film.shown, masks)
        scores[f"upper_face_luma_psnr{suffix}"] = half_psnr(luma(read), luma(film.shown), masks)
    return scores


@dataclass(frozen=True)
class StoredFilm:
    """A video in a file: frames as a dub reads them, and uint8 [T,H,W,3] as everybody does."""

    frames: list[FilmedFrame]
    shown: np.ndarray


def stored(frames: np.ndarray) -> StoredFilm:
    """Frames uint8 [T,H,W,3] as a video of luma and chroma, as people have it: nothing is lost after that step."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        with VideoWriter(path, frames.shape[2], frames.shape[1], quality=0) as writer:
            for frame in frames:
                writer.write(frame)
        return StoredFilm(
            list(filmed_frames(open_clip(path), np.arange(len(frames)))), np.stack(list(read_frames(path)))
        )


def encoded(frames: np.ndarray, filmed: Sequence[FilmedFrame]) -> np.ndarray:
    """Changed frames uint8 [T,H,W,3] of a film through the shipped encoder, without marks, and back."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        with VideoWriter(path, frames.shape[2], frames.shape[1]) as writer:
            for frame, film in zip(frames, filmed, strict=True):
                writer.write(frame, film)
        return np.stack(list(read_frames(path)))


def lower_face(
    session: Session, output: np.ndarray, target: np.ndarray, labels: np.ndarray, masks: np.ndarray
) -> dict[str, float]:
    """Errors below the nose of uint8 [T,S,S,3] against the filmed frames: PSNR inside masks bool [T,S,S], perceptual
    distances of two squares, about the mouth and about all of the lower face."""
    values = {"lower_face_psnr": half_psnr(output, target, masks)}
    if session.networks.perception is not None:
        a, b, points = (torch.from_numpy(np.array(array)) for array in (output, target, labels))
        a, b = to_tensor(a), to_tensor(b)
        for name, group in {"lower_face": LOWER_FACE, "mouth": PARTS["mouth"][0]}.items():
            distances = session.networks.perception.distance(patch(a, points, *group), patch(b, points, *group))
            values[f"{name}_perceptual"] = mean(distances)
    return values


def save_close_ups(session: Session, name: str, labels: np.ndarray, videos: dict[str, np.ndarray]) -> None:
    """With --out: the lower faces of some frames [T,S,S,3], labels [T,468,3], a row per video."""
    if not session.arguments.out:
        return
    picks, rows = evenly(len(labels), COLUMNS), []
    points = (torch.from_numpy(labels[picks]) + 1) / 3  # in a picture with black margins as wide as itself
    centres, halves = points[:, list(LOWER_FACE[0]), :2].mean(1), face_height(points) * CLOSE_UP / 2
    for label, frames in videos.items():
        margins = [(0, 0), *[(size, size) for size in frames.shape[1:3]], (0, 0)]
        pictures = to_tensor(torch.from_numpy(np.pad(frames[picks], margins)))
        rows.append((label, to_pictures(squares(pictures, centres, halves, CLOSE_UP_PIXELS))))
    session.save_sheet(name, rows)


def group_report(session: Session, clips: Sequence[MeasuredDub]) -> dict:
    """Means over people with intervals over them; ratios of sums over people; identity; scores of each clip."""
    people = [clip.row["identity"] for clip in clips]
    scores = {key: person_means(people, np.array(values)) for key, values in columns([c.scores for c in clips]).items()}
    rows = [dict(zip(scores, values, strict=True)) for values in zip(*scores.values(), strict=True)]
    report: dict = {"people": len(rows), "clips": len(clips), **row_means(rows)}
    for key in sorted({key for clip in clips for key in clip.pairs}):
        chosen = [clip for clip in clips if key in clip.pairs]
        values = person_means([clip.row["identity"] for clip in chosen], np.array([c.pairs[key] for c in chosen]))
        report |= ratio(key, *values.T)
        report["interval"][key] = report.pop(f"{key}_interval")
    if clips[0].similar:
        similar = columns([{key: np.array(values) for key, values in clip.similar.items()} for clip in clips])
        report["identity"] = identity_report(session.networks.clips, similar)
    report["per_clip"] = [
        {"id": clip.row["id"], "person": clip.row["identity"], **clip.scores}
        | {key: dubbed / max(source, 1e-9) for key, (dubbed, source) in clip.pairs.items()}
        for clip in clips
    ]
    return report
