"""Losses of the face network: landmarks (lips and eyes weighted, openings by themselves) and anchors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.faces.face_network import decode_boxes
from anitalker.faces.landmarks import EYES, LEFT_LID_PAIRS, LIP_PAIRS, LIPS, RIGHT_LID_PAIRS, face_height

PAIRS = LIP_PAIRS + RIGHT_LID_PAIRS + LEFT_LID_PAIRS


def point_weights(lips: float = 3.0, eyes: float = 3.0, depth: float = 0.3) -> Tensor:
    """[N,3] with mean 1 over x and y."""
    weights = torch.ones(468, 3)
    weights[list(LIPS)] = lips
    weights[list(EYES)] = eyes
    weights = weights / weights[:, 0].mean()
    weights[:, 2] *= depth
    return weights


def landmark_loss(guess: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean absolute difference of landmarks [B,N,3], in face heights."""
    return ((guess - truth).abs() * weights / face_height(truth)[:, None, None]).mean()


def opening_loss(guess: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute difference of the vectors between upper and lower lips and lids, in face heights."""
    upper, lower = torch.tensor(PAIRS, device=guess.device).T
    difference = (guess[:, upper] - guess[:, lower]) - (truth[:, upper] - truth[:, lower])
    return (difference[..., :2].abs() / face_height(truth)[:, None, None]).mean()


def match(
    anchors: Tensor, boxes: Tensor, valid: Tensor, positive: float = 0.4, negative: float = 0.3
) -> tuple[Tensor, Tensor]:
    """Anchors [A,3] against faces [B,G,4] (valid [B,G]) -> label [B,A] (1 face, 0 background, -1 neither), face index.

    Each face also takes its best anchor, whatever the overlap.
    """
    half = anchors[:, 2:] / 2
    low = torch.maximum(anchors[:, :2] - half, boxes[:, :, None, :2])
    high = torch.minimum(anchors[:, :2] + half, boxes[:, :, None, 2:])
    shared = (high - low).clamp_min(0).prod(-1)
    size = (boxes[..., 2:] - boxes[..., :2]).prod(-1)[..., None]
    overlap = shared / (anchors[:, 2] ** 2 + size - shared).clamp_min(1e-6) * valid[..., None]  # [B,G,A]
    best, which = overlap.max(1)
    label = (best > positive).long() - ((best > negative) & (best <= positive)).long()
    top, own = overlap.max(2)
    batch, face = torch.nonzero(valid & (top > 0), as_tuple=True)
    label[batch, own[batch, face]] = 1
    which[batch, own[batch, face]] = face
    return label, which


def focal_loss(logits: Tensor, label: Tensor, alpha: float = 0.4, gamma: float = 2.0) -> Tensor:
    """Lin et al. 2017, eq. 5, summed over anchors whose label is not -1 and divided by the number of positives."""
    truth = (label == 1).float()
    cross = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    wrong = (logits.sigmoid() - truth).abs()
    balance = truth * alpha + (1 - truth) * (1 - alpha)
    return (cross * wrong**gamma * balance * (label >= 0)).sum() / truth.sum().clamp_min(1)


def detector_loss(
    out: tuple[Tensor, Tensor, Tensor], anchors: Tensor, boxes: Tensor, points: Tensor, valid: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Score, box and point losses of `Detector.forward`'s result against faces [B,G,...].

    Boxes: generalised IoU (Rezatofighi et al., 2019) on positive anchors; points: L1 in anchor sides.
    """
    from torchvision.ops import generalized_box_iou_loss

    logits, deltas, offsets = out
    label, which = match(anchors, boxes, valid)
    batch, anchor = torch.nonzero(label == 1, as_tuple=True)
    face = which[batch, anchor]
    box = generalized_box_iou_loss(decode_boxes(anchors, deltas)[batch, anchor], boxes[batch, face], reduction="sum")
    target = (points[batch, face] - anchors[anchor, None, :2]) / anchors[anchor, None, 2:]
    point = F.smooth_l1_loss(offsets[batch, anchor], target, beta=0.05, reduction="sum")
    count = max(len(batch), 1)
    return focal_loss(logits, label), box / count, 0.25 * point / count
