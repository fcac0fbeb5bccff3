"""What each motion number does to a face: frames drawn along it, measured by the landmarks that are found on them.

Letters: M motion numbers, N = 468 landmarks, n frames of a strip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from anitalker.config import RenderOptions
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
from anitalker.motion.subspaces import LIDS, scale_motion

STRIP = (-2.0, -1.0, 0.0, 1.0, 2.0)  # steps in spreads of the number
TILT = 2.0  # times as far as lips and lids must the head move for a number to be called pose
CLEAR = 0.15  # percent of the face height: what moves nothing further is called none


@dataclass(frozen=True)
class Effect:
    """From two spreads below the portrait to two above. head, lips, lids: mean movement in percent of the face height,
    of the head as a whole and of the others within it; openings as in landmarks.py; angles in degrees. moved [N,2]:
    movement of each point within the head, face heights."""

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


def strips(model, subject, spread: Tensor) -> np.ndarray:
    """Frames drawn along every number, uint8 [M,n,256,256,3]; the middle one is the portrait's own code."""
    steps = torch.tensor(STRIP, device=subject.motion.device)
    rows = []
    for number, width in enumerate(spread):
        motion = subject.motion.repeat(len(steps), 1)
        motion[:, number] += steps * width
        rows.append(np.stack(list(model.render_frames(subject, motion, full=False))))
    return np.stack(rows)


def find_marks(finder, frames: np.ndarray, usual: np.ndarray) -> tuple[np.ndarray, int]:
    """Landmarks [n,N,3] of the largest face of frames uint8 [n,s,s,3] in widths of the frame, and how often none was
    found; `usual` [N,3] stands in there."""
    found, missing = [], 0
    for frame in frames:
        faces = finder.find(frame)
        missing += not faces
        found.append(faces[0].landmarks / frame.shape[1] if faces else usual)
    return np.stack(found).astype(np.float32), missing


def effect(base: Tensor, low: Tensor, high: Tensor) -> Effect:
    """What leads from landmarks low [N,3] to high [N,3], on the face base [N,3]."""
    shape = (base - base[list(STABLE)].mean(0)) / face_height(base)
    ends = torch.stack([low, high])
    pose = fit_pose(ends, shape)
    inner = to_canonical(level_depth(ends, pose, shape), pose)
    rigid = from_canonical(shape.expand_as(ends), pose)[:, list(STABLE), :2] / face_height(base)
    moved = (inner[1] - inner[0])[:, :2]
    far = moved.norm(dim=1) * 100
    head = float((rigid[1] - rigid[0]).norm(dim=1).mean() * 100)
    lips, lids = (float(far[list(points)].mean()) for points in (sorted(set(LIPS)), LIDS))
    # A moved lip tilts the fitted head a little, and a turned head leaves less than half of its way to the rest.
    sizes = {"pose": head / TILT, "lips": lips, "eyes": lids}
    group = max(sizes, key=sizes.get) if max(sizes.values()) > CLEAR else "none"
    turn = torch.rad2deg(pose[1, :3] - pose[0, :3]).tolist()
    openings = [float(opening(ends)[1] - opening(ends)[0]) for opening in (lip_opening, eye_opening)]
    return Effect(group, head, lips, lids, *openings, *turn, moved.numpy())


def effects(finder, frames: np.ndarray) -> tuple[list[Effect], int]:
    """Strips [M,n,s,s,3] -> what each number does, and on how many frames no face was found."""
    middle = len(STRIP) // 2
    base = finder.find(frames[0, middle])
    if not base:
        return [], len(frames)
    usual = base[0].landmarks / frames.shape[-2]
    marks, missing = find_marks(finder, frames[:, [0, -1]].reshape(-1, *frames.shape[2:]), usual)
    pairs = torch.tensor(marks).unflatten(0, (-1, 2))
    own = torch.tensor(usual, dtype=torch.float32)
    return [effect(own, low, high) for low, high in pairs], missing


def predicted(model, subject, spread: Tensor) -> list[Effect]:
    """What the codes themselves do to the portrait's landmarks, without drawing; family `lite`."""
    size, start = len(spread), subject.motion
    ends = torch.cat([start + step * torch.diag(spread) for step in (STRIP[0], STRIP[-1])])
    marks = model.space.landmarks(subject.landmarks.expand(2 * size, -1, -1), start.expand(2 * size, -1), ends).cpu()
    own = subject.landmarks[0].cpu()
    return [effect(own, low, high) for low, high in zip(*marks.split(size), strict=True)]


def agreement(measured: list[Effect], told: list[Effect]) -> str:
    """Words on how well two lists of effects of the same numbers agree; correlations leave out what turns the head,
    whose lips and lids do not move within it."""
    pairs = list(zip(measured, told, strict=True))
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


DAMPED = (
    ("as made", {}),
    ("--lips 0", {"lips": 0.0}),
    ("--lips 1.2", {"lips": 1.2}),
    ("--head 0", {"head": 0.0}),
    ("--head 0.5", {"head": 0.5}),
    ("--blink 0", {"blink": 0.0}),
)


def damped(
    model, subject, motion: Tensor, points_of: Callable[[Tensor], Tensor] | None = None
) -> list[tuple[str, float, float, float]]:
    """One motion [T,M] under the factors of DAMPED -> (flags, deviation over time of the mouth's opening and of the
    eyes' in percent, of the head's yaw, pitch and roll in degrees, root of their sum of squares). Family `lite` only.

    points_of: motion [T,M] -> landmarks [T,N,3]; None: those that the codes themselves move.
    """

    def moved(one: Tensor) -> Tensor:
        count = len(one)
        start = subject.motion.expand(count, -1)
        return model.space.landmarks(subject.landmarks.expand(count, -1, -1), start, one)

    rows, points_of = [], points_of or moved
    for name, given in DAMPED:
        one = scale_motion(motion, subject.motion, model.groups, replace(RenderOptions(), **given))
        points = points_of(one)
        head = torch.rad2deg(one[:, :3]).std(0).square().sum().sqrt()
        rows.append((name, *(float(f(points).std() * 100) for f in (lip_opening, eye_opening)), float(head)))
    return rows
