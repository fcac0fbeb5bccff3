"""Where drawn eyes look, read by a face mesh of 478 points, on val: true irises again, and eyes told where to look.

    python -m scripts.study gaze --cache runs/cache --perceptual-network DIR/nets/squeezenet1_0_imagenet.npz

Needs mediapipe 0.10.14 and labels of scripts.label_irises. Clips: each is drawn from its first frame with the
true landmarks of later ones, with eyes as in the portrait and with the true irises. Stills: eyes told to look
somewhere, the head at rest or turned. Gaze is read by usual eyeballs (`eyeballs.read_gaze`).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from anitalker import pipeline
from anitalker.config import CROP, InputError
from anitalker.decoder.composition import compose
from anitalker.decoder.eyeballs import read_gaze
from anitalker.decoder.eyelids import LID_INDICES, eye_axes
from anitalker.decoder.iris import IrisPlaces, eye_patches
from anitalker.decoder.iris_shift import Irises
from anitalker.faces.crop import Crop
from anitalker.models.lite import Lite
from anitalker.models.lite_face import LiteFace
from anitalker.runtime.transfer import to_pictures, to_tensors
from scripts.evaluation.metrics import interval
from scripts.label_irises import EyeLabels, Mesh, face_mesh, label, read_labels
from scripts.markdown import table
from scripts.training.data import FrameCache
from scripts.training.labels import MotionLabels
from scripts.training.losses import PerceptualLoss, feature_network
from scripts.training.mouth_pack import LABELS

TARGETS = ((0, 0), (10, 0), (-10, 0), (0, 10), (0, -10))  # degrees
TURNS = ((15, 0), (-15, 0), (0, 10), (0, -10))  # yaw and pitch added to the portrait's, degrees


class Pair(NamedTuple):
    """A number with eyes as today, and with moved ones."""

    today: float
    moved: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache", default="runs/cache", help="decoded frames, eye labels and motion labels")
    parser.add_argument("--perceptual-network", required=True, metavar="FILE.npz", help="SqueezeNet 1.0")
    parser.add_argument("--clips", type=int, default=20, help="so many clips of val")
    parser.add_argument("--frames", type=int, default=6, help="of each")
    parser.add_argument("--stills", type=int, default=24, help="so many stills of val")
    parser.add_argument("--sheet", metavar="FILE.png", help="close-ups: portrait, then TARGETS")


def run(arguments: argparse.Namespace) -> int:
    """Print both tables."""
    model = pipeline.load("lite", "cpu").model
    assert isinstance(model, Lite)
    cache, labels = FrameCache(arguments.cache, "val"), read_labels(arguments.cache, "val")
    mesh, features = face_mesh(), feature_network(arguments.perceptual_network)
    if features is None:
        raise InputError("perceptual-network is none; give a file")
    codes = MotionLabels.load(Path(arguments.cache) / LABELS)
    judge = PerceptualLoss(features).eval()
    clips = Clips(model, cache, labels, codes, mesh, judge)
    print(clips.report(clips.measure(arguments.clips, arguments.frames)), end="\n\n")
    stills = Stills(model, cache, labels, mesh)
    print(stills.report(stills.measure(arguments.stills)))
    if arguments.sheet:
        Image.fromarray(np.vstack(stills.rows)).save(arguments.sheet)
    return 0


def prepare(model: Lite, cache: FrameCache, number: int) -> LiteFace:
    """A frame as a portrait that fills its crop."""
    picture = np.array(cache.frames[number])
    crop = Crop(picture, np.array(cache.landmarks[number]), (0.0, 0.0), float(CROP), (CROP, CROP))
    return model.prepare(picture, crop)


def in_axes(labels: EyeLabels, landmarks: Tensor) -> IrisPlaces:
    """Labels of B frames in the axes of landmarks [B,N,3]."""
    corner, axes = eye_axes(landmarks[..., :2])
    width = axes[:, :, 0].norm(dim=-1)
    iris = torch.from_numpy(labels.iris) - corner
    centre = (axes @ iris[..., None]).squeeze(-1) / width[..., None].square()
    return IrisPlaces(centre, torch.from_numpy(labels.radius) / width, torch.zeros_like(width))


def some(labels: EyeLabels, numbers: np.ndarray) -> EyeLabels:
    """Labels of some frames."""
    return EyeLabels(*(getattr(labels, name)[numbers] for name in ("lids", "iris", "radius", "found")))


class Clips:
    """Self-reenactment of eyes on clips."""

    def __init__(
        self, model: Lite, cache: FrameCache, labels: EyeLabels, codes: MotionLabels, mesh: Mesh, judge: PerceptualLoss
    ) -> None:
        self.model, self.cache, self.labels, self.codes = model, cache, labels, codes
        self.mesh, self.judge = mesh, judge

    def measure(self, most: int, frames: int) -> dict[str, list[tuple[Pair, Pair]]]:
        """Iris error in eye widths and perceptual distance of eyes, of each clip, by person."""
        seen = self.labels.usable(self.cache.landmarks) & self.cache.good
        people = defaultdict(list)
        clips = [clip for clip in range(len(self.cache.rows)) if (seen & (self.cache.clip == clip)).sum() > frames]
        for clip in np.array(clips)[np.linspace(0, len(clips) - 1, min(most, len(clips))).astype(int)]:
            numbers = np.flatnonzero(seen & (self.cache.clip == clip))
            targets = numbers[np.linspace(len(numbers) // 4, len(numbers) - 1, frames).astype(int)]
            people[self.cache.rows[clip]["identity"]].append(self._clip(numbers[0], targets))
        return people

    @torch.inference_mode()
    def _clip(self, first: int, targets: np.ndarray) -> tuple[Pair, Pair]:
        face = prepare(self.model, self.cache, first)
        source = in_axes(some(self.labels, np.array([first])), face.landmarks)
        landmarks = torch.tensor(self.cache.landmarks[targets])
        identity = self.cache.rows[self.cache.clip[first]]["identity"]
        codes, true = self.codes.codes(landmarks.numpy(), identity), some(self.labels, targets)
        target = in_axes(true, landmarks)
        errors, distances, pictures = [], [], torch.from_numpy(np.array(self.cache.frames[targets]))
        for moves in (False, True):
            drawn = []
            for n in range(len(targets)):
                frame = slice(n, n + 1)
                irises = Irises(source.centre, source.radius, target.centre[frame], torch.ones(1), torch.zeros(1, 2))
                layers = self.model.layers_to(face, landmarks[frame], codes[frame], irises if moves else None)
                drawn.append(to_pictures(compose(face.prepared.picture, layers))[0])
            read = label(np.stack(drawn), self.mesh)
            error = np.linalg.norm(read.iris - true.iris, axis=-1) / true.width
            errors.append(float(error[read.found].mean()))
            eyes = (
                eye_patches(to_tensors(frames), landmarks) for frames in (torch.from_numpy(np.stack(drawn)), pictures)
            )
            distances.append(float(self.judge(*(F.interpolate(eye, scale_factor=2) for eye in eyes)).mean()))
        return Pair(*errors), Pair(*distances)

    def report(self, people: dict[str, list[tuple[Pair, Pair]]]) -> str:
        """Means over people, with 95% intervals."""
        means = np.array([np.mean(clips, 0) for clips in people.values()])  # [people,2,2]
        rows = []
        for name, values, unit in (
            ("iris error", 100 * means[:, 0], "% of the eye's width"),
            ("distance", means[:, 1], ""),
        ):
            ratio = values[:, 1].mean() / values[:, 0].mean()
            cells = [
                f"{values[:, k].mean():.2f} [{', '.join(f'{x:.2f}' for x in interval(values[:, k]))}]" for k in (0, 1)
            ]
            rows.append((f"{name} {unit}".strip(), *cells, f"{ratio:.2f}"))
        return table((f"clips of {len(people)} people", "eyes as in the portrait", "true irises", "ratio"), rows)


class Stills:
    """Stills whose eyes are told where to look; rows: close-ups."""

    def __init__(self, model: Lite, cache: FrameCache, labels: EyeLabels, mesh: Mesh) -> None:
        self.model, self.cache, self.labels, self.mesh = model, cache, labels, mesh
        self.rows: list[np.ndarray] = []
        self.unseen = 0

    def measure(self, most: int) -> dict[str, list[Pair]]:
        """Angle in degrees between the gaze that was asked for and the one that is read, by condition."""
        found = np.flatnonzero((self.cache.clip < 0) & self.labels.usable(self.cache.landmarks))
        errors = defaultdict(list)
        for number in found[np.linspace(0, len(found) - 1, min(most, len(found))).astype(int)]:
            face = prepare(self.model, self.cache, number)
            if face.eyes is None:
                self.unseen += 1
                continue
            self._rest(face, errors)
            self._turned(face, errors)
        return errors

    def _rest(self, face: LiteFace, errors: dict[str, list[Pair]]) -> None:
        still, *shown = self._draw(face, [(0, 0)], [None, *TARGETS])
        for target, frame in zip(TARGETS, shown, strict=True):
            name = "camera" if target == (0, 0) else "10 degrees aside" if target[0] else "10 degrees up or down"
            errors[name].append(Pair(*(self._error(face, picture, face.motion, target) for picture in (still, frame))))
        self.rows.append(np.hstack([close_up(frame, face.landmarks) for frame in (face.crop.image, *shown)]))

    def _turned(self, face: LiteFace, errors: dict[str, list[Pair]]) -> None:
        for turn in TURNS:
            motion = turned(face.motion, turn)
            today, camera = self._draw(face, [turn], [None, (0, 0)])
            name = "camera, head turned by 15" if turn[0] else "camera, head nodded by 10"
            errors[name].append(Pair(*(self._error(face, frame, motion, (0, 0)) for frame in (today, camera))))

    def _draw(self, face: LiteFace, turns: list, targets: list) -> list[np.ndarray]:
        frames = []
        for turn in turns:
            for target in targets:
                motion = turned(face.motion, turn)
                if target is not None:
                    gaze = torch.tensor([[*np.radians(target), 1.0]], dtype=torch.float32)
                    motion = torch.cat([motion, gaze], 1)
                frames.extend(self.model.render_frames(face, motion))
        return frames

    def _error(self, face: LiteFace, frame: np.ndarray, motion: Tensor, target: tuple[float, float]) -> float:
        read = label(frame[None], self.mesh)
        if not read.found[0]:
            return float("nan")
        landmarks = self.model.space.move(face.resting, motion)  # the mesh's own corners go with the iris
        gaze = read_gaze(in_axes(read, landmarks), landmarks, motion[:, :6])
        return float(np.hypot(*(np.degrees(gaze[0].numpy()) - target)))

    def report(self, errors: dict[str, list[Pair]]) -> str:
        """Median and mean of each condition, eyes as in the portrait beside."""
        rows = []
        for name, pairs in errors.items():
            values = np.array(pairs)
            values = values[np.isfinite(values).all(1)]
            cells = (f"{np.median(values[:, k]):.1f} / {values[:, k].mean():.1f}" for k in (0, 1))
            rows.append((name, len(values), *cells, f"{(values[:, 1] <= 8).mean():.0%}"))
        heading = f"stills (irises of {self.unseen} not found): error of gaze, degrees"
        return table((heading, "frames", "eyes as in the portrait, median / mean", "told", "told: within 8"), rows)


def turned(motion: Tensor, turn: tuple[float, float]) -> Tensor:
    """A code [1,M] with yaw and pitch added, degrees."""
    moved = motion.clone()
    moved[:, :2] += torch.tensor(np.radians(turn), dtype=torch.float32)
    return moved


def close_up(frame: np.ndarray, landmarks: Tensor, size: tuple[int, int] = (360, 140)) -> np.ndarray:
    """Both eyes of a frame [256,256,3], enlarged."""
    points = landmarks[0, LID_INDICES, :2].numpy() * CROP
    middle, width = points.mean(0), np.ptp(points[:, 0]) * 1.3
    half = np.array([width, width * size[1] / size[0]]) / 2
    box = (*(middle - half), *(middle + half))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC, box=tuple(np.clip(box, 0, CROP))))
