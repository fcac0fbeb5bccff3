"""From the 68 points of the iBUG scheme, which face-alignment finds, to the 468 of the mesh, by a shipped ridge fit.

The fit is linear in the frame of the mean 68 points. `scripts.train_face_network --part ridge` makes it from labels of
the 468 points, IBUG_POINTS of which serve as the 68. Jaw points follow the visible contour in one scheme and the mesh
in the other, so the jaw of a turned head is only roughly right; lips, eyelids, brows and nose agree.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Their mesh points: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, outer lips 48-59, inner lips 60-67.
IBUG_POINTS = (162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389)
IBUG_POINTS += (71, 63, 105, 66, 107, 336, 296, 334, 293, 301)
IBUG_POINTS += (168, 197, 5, 4, 75, 97, 2, 326, 305)
IBUG_POINTS += (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
IBUG_POINTS += (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181)
IBUG_POINTS += (78, 82, 13, 312, 308, 317, 14, 87)


def expand_to_mesh(fit: dict[str, Tensor], points: Tensor) -> Tensor:
    """68 points [B,68,2] in pixels -> 468 landmarks [B,468,3], by the linear fit in the frame of the mean 68 points."""
    aligned, turn, offset = align_to_mean(points, fit["mean"])
    flat = aligned.flatten(1) @ fit["weight"].T + fit["bias"]
    landmarks = flat.view(len(points), -1, 3)
    scale = (turn[:, 0] ** 2).sum(-1).sqrt()[:, None, None]
    return torch.cat([landmarks[..., :2] @ turn.transpose(1, 2) + offset, landmarks[..., 2:] * scale], -1)


def align_to_mean(points: Tensor, mean: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Align points p [B,P,2] with `mean` [P,2] by a similarity -> aligned points q, and turn and offset of its inverse.

    p = q @ turn^T + offset, with a scaled rotation turn [B,2,2] and offset [B,1,2]. Least squares from mean to points,
    Umeyama 1991 in the plane.
    """
    centre, middle = points.mean(1, keepdim=True), mean.mean(0)
    a, b = points - centre, (mean - middle)[None]
    c = (a * b).sum((1, 2))
    s = (a[..., 1] * b[..., 0] - a[..., 0] * b[..., 1]).sum(1)
    turn = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], 1) / (b**2).sum()
    offset = centre - middle[None, None] @ turn.transpose(1, 2)
    return (points - offset) @ torch.linalg.inv(turn).transpose(1, 2), turn, offset


def fit_ridge(landmarks: Tensor, noise: float) -> dict[str, Tensor]:
    """Fit the weights that `expand_to_mesh` applies, to labels [B,468,3] in any unit.

    noise: expected error of the 68 points in units of the mean 68 points' root mean square radius. Ridge regression
    with B noise^2 on the diagonal is regression on noisy inputs (Bishop, "Training with noise", 1995).
    """
    points = landmarks[:, list(IBUG_POINTS), :2]
    mean = points[0]
    for _ in range(3):  # generalised Procrustes: align all with the mean, take the mean again
        mean = align_to_mean(points, mean)[0].mean(0)
        mean = mean - mean.mean(0)
        mean = mean / (mean**2).sum(-1).mean().sqrt()
    aligned, turn, offset = align_to_mean(points, mean)
    scale = (turn[:, 0] ** 2).sum(-1).sqrt()[:, None, None]
    flat = (landmarks[..., :2] - offset) @ torch.linalg.inv(turn).transpose(1, 2)
    target = torch.cat([flat, landmarks[..., 2:] / scale], -1).flatten(1).double()
    x = aligned.flatten(1).double()
    x_mean, y_mean = x.mean(0), target.mean(0)
    x, target = x - x_mean, target - y_mean
    gram = x.T @ x + len(x) * noise**2 * torch.eye(x.shape[1], dtype=torch.float64)
    weight = torch.linalg.solve(gram, x.T @ target).T
    return {"mean": mean.float(), "weight": weight.float(), "bias": (y_mean - weight @ x_mean).float()}
