"""What the lip regressor is trained for: the codes, and the mouth that they make: how it stands, moves and shuts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import POSE_SIZE
from scripts.training.losses import weighted_mean

UPPER, LOWER, RIGHT, LEFT = 13, 14, 61, 291  # mesh points: middles of the inner lips, corners of the mouth
SHAPE_WEIGHTS = (1.0, 0.3, 0.3)  # of opening, width and protrusion
SHUT_WEIGHT = 1.0  # further weight of the opening on frames whose lips are shut
SHUT = 0.012  # face heights: lips closer than that are shut
SHAPE_WEIGHT, VELOCITY_WEIGHT = 0.5, 0.5


def mouth_readout(directions: Tensor) -> Tensor:
    """Directions [K,468,3] -> [K,3]: what each does to opening, width and protrusion of the mouth, in face heights."""
    opening = (directions[:, LOWER] - directions[:, UPPER])[:, 1]
    width = (directions[:, LEFT] - directions[:, RIGHT])[:, 0]
    corners = (directions[:, LEFT] + directions[:, RIGHT])[:, 2] / 2
    protrusion = corners - (directions[:, LOWER] + directions[:, UPPER])[:, 2] / 2  # depth grows away from the viewer
    return torch.stack([opening, width, protrusion], 1)


class LipLoss(nn.Module):
    """Huber losses (beta 0.5) of normalised motion [B,n,20].

    std [20]: deviation of the motion code; readout [14,3] from `mouth_readout`; shape_std [3]: deviation of the mouth's
    opening, width and protrusion over the training clips, in face heights.

    A person's mean mouth says nothing about what is spoken, and the neutral face of a short clip is a guess: the mouth
    is compared without its mean over the window.
    """

    def __init__(self, std: Tensor, readout: Tensor, shape_std: Tensor) -> None:
        super().__init__()
        self.register_buffer("readout", std[POSE_SIZE:, None] * readout / shape_std)
        self.register_buffer("weights", torch.tensor(SHAPE_WEIGHTS))
        self.register_buffer("shut", SHUT / shape_std[0])

    def forward(self, estimate: Tensor, truth: Tensor, good: Tensor) -> dict[str, Tensor]:
        """Losses by name; good [B,n]: weight of each frame."""
        estimate, truth = estimate[..., POSE_SIZE:], truth[..., POSE_SIZE:]
        error, mouth = estimate - truth, truth @ self.readout
        shape = error @ self.readout
        shape = shape - (shape * good[..., None]).sum(1, True) / good.sum(1).clamp(min=1)[:, None, None]
        per_frame = (huber(shape) * self.weights).sum(-1)
        closed = (mouth[..., 0] - mouth[..., 0].amin(1, True) < self.shut).float()
        per_frame = per_frame + SHUT_WEIGHT * closed * huber(shape[..., 0])
        moved = (huber(shape.diff(dim=1)) * self.weights).sum(-1) + error.diff(dim=1).abs().mean(-1)
        return {
            "codes": weighted_mean(huber(error, 1.0).mean(-1), good),
            "shape": SHAPE_WEIGHT * weighted_mean(per_frame, good),
            "velocity": VELOCITY_WEIGHT * weighted_mean(moved, good[:, 1:] * good[:, :-1]),
        }


def huber(error: Tensor, beta: float = 0.5) -> Tensor:
    """Huber loss of every number."""
    return F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=beta)
