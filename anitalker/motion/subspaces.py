"""Subspaces of the motion code that move lips, lids or head, computed from geometry; used to exaggerate or damp them.

Letters: T frames, M = 20 motion numbers (POSE_SIZE of pose, then K of expression), N = 468 landmarks.

The directions come from a PCA of landmarks, so most of them move lips and lids at once. What moves lips or lids alone
is therefore not a set of coefficients but a subspace. In units of the codes' standard deviation, the quadratic form A
measures how far a change moves the lips and B how far it moves the lids. The generalised eigenvectors of
A v = s (A + B) v move either as purely as possible: s near 1 moves lips alone, s near 0 lids alone. In the shipped
model 12 of 14 values of s are below 0.12 or above 0.77.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from anitalker.config import LANDMARKS, POSE_SIZE, RenderOptions
from anitalker.faces.landmarks import LEFT_LID_PAIRS, LIPS, RIGHT_LID_PAIRS

LID_POINTS = tuple(sorted({point for pair in RIGHT_LID_PAIRS + LEFT_LID_PAIRS for point in pair}))
# Places in the motion code that an option of RenderOptions sets.
OPTION_INDICES = {"yaw": (0,), "pitch": (1,), "roll": (2,), "pose": (0, 1, 2), "location": (3,), "scale": (5,)}


@dataclass(frozen=True)
class MotionSubspaces:
    """Projections of motion codes [M,M], applied as code @ projection; the three add up to the identity.

    purity [K]: the eigenvalues s, the lips' share in the movement along each eigenvector; ascending.
    """

    pose: Tensor
    lips: Tensor
    eyes: Tensor
    purity: Tensor


def fit_subspaces(directions: Tensor, std: Tensor) -> MotionSubspaces:
    """Directions [3N,K] of landmark displacement and the codes' standard deviation [M] -> MotionSubspaces."""
    device, shape = directions.device, directions.double().cpu().reshape(LANDMARKS, 3, -1)[:, :2]
    expression_std = std[POSE_SIZE:].double().cpu()
    lips, lids = (_energy(shape[list(points)] * expression_std) for points in (sorted(set(LIPS)), LID_POINTS))
    # Whiten by A + B, then an ordinary symmetric problem.
    values, vectors = torch.linalg.eigh(lips + lids)
    whitening = vectors * values.clamp(min=1e-12 * values[-1]).rsqrt()
    purity, rotation = torch.linalg.eigh(whitening.T @ lips @ whitening)
    basis = expression_std[:, None] * (whitening @ rotation)  # [K,K], columns are changes of expression
    inverse = torch.linalg.inv(basis)
    moves_lips = purity > 0.5
    size = POSE_SIZE + len(expression_std)
    pose_projection, lip_projection, eye_projection = (torch.zeros(size, size, dtype=torch.double) for _ in range(3))
    pose_projection[:POSE_SIZE, :POSE_SIZE] = torch.eye(POSE_SIZE)
    lip_projection[POSE_SIZE:, POSE_SIZE:] = (basis[:, moves_lips] @ inverse[moves_lips]).T
    eye_projection[POSE_SIZE:, POSE_SIZE:] = (basis[:, ~moves_lips] @ inverse[~moves_lips]).T
    tensors = (pose_projection, lip_projection, eye_projection, purity)
    return MotionSubspaces(*(tensor.float().to(device) for tensor in tensors))


def _energy(shape: Tensor) -> Tensor:
    """Mean squared movement of points [n,2,K] as a quadratic form [K,K] of the coefficients."""
    return torch.einsum("ndk,ndj->kj", shape, shape) / len(shape)


def scale_motion(motion: Tensor, start: Tensor, subspaces: MotionSubspaces, options: RenderOptions) -> Tensor:
    """Motion [T,M] with its difference to the portrait's code `start` [1,M] scaled in each subspace -> [T,M].

    options.lips, head and blink are the factors: 1 changes nothing, 0 holds the portrait's own. Head angles, size and
    location that their own options set are not scaled.
    """
    if options.lips == options.head == options.blink == 1:
        return motion
    fixed = [i for name, indices in OPTION_INDICES.items() if getattr(options, name) is not None for i in indices]
    head = subspaces.pose * (options.head - 1)
    head[:, fixed] = 0
    change = (motion - start) @ (head + (options.lips - 1) * subspaces.lips + (options.blink - 1) * subspaces.eyes)
    return motion + change
