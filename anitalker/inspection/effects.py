"""Measures what each motion number does to a face, by landmarks found on frames that are drawn along it.

Letters: M motion numbers, N = 468 landmarks, n frames of a strip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from anitalker.config import RenderOptions
from anitalker.faces.detection import FaceFinder
from anitalker.faces.landmarks import (
    LIPS,
    STABLE,
    eye_opening,
    face_height,
    fit_pose,
    from_canonical,
    level_depth,
    lip_opening,
    to_canonical,
)
from anitalker.models.base import Model, PreparedFace
from anitalker.models.lite import Lite, LiteFace
from anitalker.motion.subspaces import LID_POINTS, scale_motion

STRIP_STEPS = (-2.0, -1.0, 0.0, 1.0, 2.0)  # in standard deviations of the number
MIN_POSE_RATIO = 2.0  # a number is called pose if the head moves this many times as far as lips and lids
MIN_MOVEMENT_PERCENT = 0.15  # of the face height; a number that moves nothing further is called none


@dataclass(frozen=True)
class Effect:
    """Changes from two standard deviations below the portrait to two above.

    group: pose, lips, eyes or none, by what moves furthest. head, lips, lids: mean movement in percent of the face
    height, of the head as a whole and of the others within it. lip_opening, eye_opening: as in landmarks.py. yaw,
    pitch, roll: degrees. moved [N,2]: movement of each point within the head, in face heights.
    """

    group: str
    head: float
    lips: float
    lids: float
    lip_opening: float
    eye_opening: float
    yaw: float
    pitch: float
    roll: float
    moved: np.ndarray


def draw_strips(model: Model, face: PreparedFace, std: Tensor) -> np.ndarray:
    """Frames drawn along every number, uint8 [M,n,256,256,3]; the middle frame is the portrait's own code."""
    steps = torch.tensor(STRIP_STEPS, device=face.motion.device)
    rows = []
    for index, width in enumerate(std):
        motion = face.motion.repeat(len(steps), 1)
        motion[:, index] += steps * width
        rows.append(np.stack(list(model.render_frames(face, motion))))
    return np.stack(rows)


def find_landmarks(finder: FaceFinder, frames: np.ndarray, fallback: np.ndarray) -> tuple[np.ndarray, int]:
    """Landmarks [n,N,3] of the largest face of frames uint8 [n,s,s,3] in frame widths, and the frames without a face.

    Frames without a face get the landmarks `fallback` [N,3].
    """
    landmarks, missing = [], 0
    for frame in frames:
        faces = finder.find(frame)
        missing += not faces
        landmarks.append(faces[0].landmarks / frame.shape[1] if faces else fallback)
    return np.stack(landmarks).astype(np.float32), missing


def measure_effect(base: Tensor, low: Tensor, high: Tensor) -> Effect:
    """The change from landmarks low [N,3] to high [N,3], on the face with landmarks base [N,3]."""
    shape = (base - base[list(STABLE)].mean(0)) / face_height(base)
    ends = torch.stack([low, high])
    pose = fit_pose(ends, shape)
    inner = to_canonical(level_depth(ends, pose, shape), pose)
    rigid = from_canonical(shape.expand_as(ends), pose)[:, list(STABLE), :2] / face_height(base)
    moved = (inner[1] - inner[0])[:, :2]
    distance = moved.norm(dim=1) * 100  # percent of the face height
    head = float((rigid[1] - rigid[0]).norm(dim=1).mean() * 100)
    lips, lids = (float(distance[list(points)].mean()) for points in (sorted(set(LIPS)), LID_POINTS))
    # A moved lip tilts the fitted head a little; a turned head moves lips and lids less than half as far.
    sizes = {"pose": head / MIN_POSE_RATIO, "lips": lips, "eyes": lids}
    group = max(sizes, key=lambda name: sizes[name]) if max(sizes.values()) > MIN_MOVEMENT_PERCENT else "none"
    yaw, pitch, roll = torch.rad2deg(pose[1, :3] - pose[0, :3]).tolist()
    lips_open, eyes_open = (float(opening(ends)[1] - opening(ends)[0]) for opening in (lip_opening, eye_opening))
    return Effect(group, head, lips, lids, lips_open, eyes_open, yaw, pitch, roll, moved.numpy())


def measure_effects(finder: FaceFinder, frames: np.ndarray) -> tuple[list[Effect], int]:
    """Strips [M,n,s,s,3] -> the effect of each number, and the number of frames without a face.

    The list is empty if no face is found on the portrait's own frame.
    """
    middle = len(STRIP_STEPS) // 2
    base = finder.find(frames[0, middle])
    if not base:
        return [], len(frames)
    portrait = base[0].landmarks / frames.shape[-2]
    landmarks, missing = find_landmarks(finder, frames[:, [0, -1]].reshape(-1, *frames.shape[2:]), portrait)
    pairs = torch.tensor(landmarks).unflatten(0, (-1, 2))
    base_landmarks = torch.tensor(portrait, dtype=torch.float32)
    return [measure_effect(base_landmarks, low, high) for low, high in pairs], missing


def predict_effects(model: Lite, face: LiteFace, std: Tensor) -> list[Effect]:
    """The effects of each number on the portrait's landmarks according to the motion space, without drawing."""
    size, start = len(std), face.motion
    ends = torch.cat([start + step * torch.diag(std) for step in (STRIP_STEPS[0], STRIP_STEPS[-1])])
    landmarks = model.space.landmarks(face.landmarks.expand(2 * size, -1, -1), start.expand(2 * size, -1), ends).cpu()
    base = face.landmarks[0].cpu()
    low_ends, high_ends = landmarks.split(size)
    return [measure_effect(base, low, high) for low, high in zip(low_ends, high_ends, strict=True)]


def describe_agreement(measured: list[Effect], predicted: list[Effect]) -> str:
    """A sentence on how well two lists of effects of the same numbers agree.

    Correlations leave out numbers of pose, with which lips and lids do not move within the head.
    """
    pairs = list(zip(measured, predicted, strict=True))
    same, inner = sum(a.group == b.group for a, b in pairs), [pair for pair in pairs if pair[1].group != "pose"]
    if len(inner) < 2:
        return f"{same} of {len(pairs)} numbers fall into the same group as the landmarks that the codes ask for."
    r = [
        np.corrcoef(np.array([[getattr(e, name) for e in pair] for pair in inner]).T)[0, 1] for name in ("lips", "lids")
    ]
    return (
        "Movement measured on the drawn frames against that of the landmarks which the codes ask for: correlation "
        f"over the {len(inner)} numbers of expression {r[0]:.2f} for lips and {r[1]:.2f} for lids; {same} of "
        f"{len(pairs)} numbers fall into the same group."
    )


SCALINGS: tuple[tuple[str, dict[str, float]], ...] = (
    ("as made", {}),
    ("--lips 0", {"lips": 0.0}),
    ("--lips 1.2", {"lips": 1.2}),
    ("--head 0", {"head": 0.0}),
    ("--head 0.5", {"head": 0.5}),
    ("--blink 0", {"blink": 0.0}),
)


def measure_scalings(model: Lite, face: LiteFace, motion: Tensor) -> list[tuple[str, float, float, float]]:
    """One motion [T,M] under each of SCALINGS -> (flags, variation of mouth, eyes and head).

    Variation of the mouth's and the eyes' opening: standard deviation over time in percent. Variation of the head: root
    of the sum of the variances of yaw, pitch and roll, in degrees. Landmarks are those that the codes move.
    """
    count = len(motion)
    portrait, start = face.landmarks.expand(count, -1, -1), face.motion.expand(count, -1)
    rows = []
    for flags, factors in SCALINGS:
        scaled = scale_motion(motion, face.motion, model.subspaces, replace(RenderOptions(), **factors))
        landmarks = model.space.landmarks(portrait, start, scaled)
        lips, eyes = (float(opening(landmarks).std() * 100) for opening in (lip_opening, eye_opening))
        head = torch.rad2deg(scaled[:, :3]).std(0).square().sum().sqrt()
        rows.append((flags, lips, eyes, float(head)))
    return rows
