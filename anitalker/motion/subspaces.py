"""What the directions of the motion space move: lips, lids, head; found from geometry, used to exaggerate or damp.

Letters: T frames, M = 20 motion numbers (POSE_SIZE of pose, then K of expression), N = 468 landmarks.

The directions come from a PCA of landmarks, so most of them move lips and lids at once. Groups are therefore not sets
of coefficients but subspaces: in units of the codes' spread, A measures how far a change moves the lips and B the
lids, and the generalised eigenvectors of A v = s (A + B) v are the changes that move one as purely as possible; s near
1 moves lips alone, near 0 lids alone. In the shipped model 12 of 14 are below 0.12 or above 0.77.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from anitalker.config import LANDMARKS, POSE_SIZE, RenderOptions
from anitalker.faces.landmarks import LEFT_LID_PAIRS, LIPS, RIGHT_LID_PAIRS

LIDS = tuple(sorted({point for pair in RIGHT_LID_PAIRS + LEFT_LID_PAIRS for point in pair}))
GROUPS = ("pose", "lips", "eyes")
ASKED = {"yaw": (0,), "pitch": (1,), "roll": (2,), "pose": (0, 1, 2), "location": (3,), "scale": (5,)}


@dataclass(frozen=True)
class MotionSubspaces:
    """Projections of motion codes [M,M], to be applied as code @ projection; the three add up to the identity.

    purity [K]: share of each changed direction's movement that is the lips', ascending.
    """

    pose: Tensor
    lips: Tensor
    eyes: Tensor
    purity: Tensor


def fit_subspaces(directions: Tensor, spread: Tensor) -> MotionSubspaces:
    """Directions [3N,K] of landmark displacement and the spread [M] of the codes -> Groups."""
    device, shape = directions.device, directions.double().cpu().reshape(LANDMARKS, 3, -1)[:, :2]
    own = spread[POSE_SIZE:].double().cpu()
    lips, lids = (_energy(shape[list(points)] * own) for points in (sorted(set(LIPS)), LIDS))
    # Whiten by A + B, then an ordinary symmetric problem.
    values, vectors = torch.linalg.eigh(lips + lids)
    white = vectors * values.clamp(min=1e-12 * values[-1]).rsqrt()
    purity, turned = torch.linalg.eigh(white.T @ lips @ white)
    basis = own[:, None] * (white @ turned)  # [K,K], columns are changes of expression
    back = torch.linalg.inv(basis)
    mine = purity > 0.5
    size = POSE_SIZE + len(own)
    pose, speech, look = (torch.zeros(size, size, dtype=torch.double) for _ in range(3))
    pose[:POSE_SIZE, :POSE_SIZE] = torch.eye(POSE_SIZE)
    speech[POSE_SIZE:, POSE_SIZE:] = (basis[:, mine] @ back[mine]).T
    look[POSE_SIZE:, POSE_SIZE:] = (basis[:, ~mine] @ back[~mine]).T
    return MotionSubspaces(*(one.float().to(device) for one in (pose, speech, look, purity)))


def _energy(shape: Tensor) -> Tensor:
    """Mean squared movement of points [n,2,K] as a quadratic form [K,K] of the coefficients."""
    return torch.einsum("ndk,ndj->kj", shape, shape) / len(shape)


def scale_motion(motion: Tensor, start: Tensor, groups: MotionSubspaces, options: RenderOptions) -> Tensor:
    """Motion [T,M] with its distance from the portrait's code `start` [1,M] scaled group by group -> [T,M].

    options.lips, head and blink: 1 leaves a group as it is, 0 holds it at the portrait's own. Head angles, size and
    place that are asked for by their own options stay as asked.
    """
    if options.lips == options.head == options.blink == 1:
        return motion
    asked = [place for name, places in ASKED.items() if getattr(options, name) is not None for place in places]
    head = groups.pose * (options.head - 1)
    head[:, asked] = 0
    change = (motion - start) @ (head + (options.lips - 1) * groups.lips + (options.blink - 1) * groups.eyes)
    return motion + change
