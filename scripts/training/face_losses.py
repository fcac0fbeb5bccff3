"""Losses of the face network: landmarks (lips and eyes weighted, openings by themselves) and anchors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou, generalized_box_iou_loss, sigmoid_focal_loss

from anitalker.faces.face_network import decode_boxes
from anitalker.faces.landmarks import LEFT_LID_PAIRS, LIP_PAIRS, RIGHT_LID_PAIRS, face_height
from scripts.training.losses import point_weights

PAIRS = LIP_PAIRS + RIGHT_LID_PAIRS + LEFT_LID_PAIRS


def coordinate_weights() -> Tensor:
    """[468,3]: lips and eyes count three times, depth little; mean 1 over x and y."""
    return point_weights(3.0)[:, None] * torch.tensor([1.0, 1.0, 0.3])


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
    squares = torch.cat([anchors[:, :2] - half, anchors[:, :2] + half], 1)
    overlap = box_iou(boxes.flatten(0, 1), squares).unflatten(0, boxes.shape[:2])  # [B,G,A]
    overlap = torch.where(valid[..., None], overlap, 0)
    best, which = overlap.max(1)
    label = (best > positive).long() - ((best > negative) & (best <= positive)).long()
    most, anchor = overlap.max(2)
    batch, face = torch.nonzero(valid & (most > 0), as_tuple=True)
    label[batch, anchor[batch, face]] = 1
    which[batch, anchor[batch, face]] = face
    return label, which


def focal_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Lin et al. 2017, eq. 5, summed over anchors whose label is not -1 and divided by the number of positives."""
    counted, faces = label >= 0, (label == 1).float()
    loss = sigmoid_focal_loss(logits[counted], faces[counted], alpha=0.4, gamma=2.0, reduction="sum")
    return loss / faces.sum().clamp_min(1)


def detector_loss(
    out: tuple[Tensor, Tensor, Tensor], anchors: Tensor, boxes: Tensor, points: Tensor, valid: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Score, box and point losses of `Detector.forward`'s result against faces [B,G,...].

    Boxes: generalised IoU (Rezatofighi et al., 2019) on positive anchors; points: L1 in anchor sides.
    """
    logits, deltas, offsets = out
    label, which = match(anchors, boxes, valid)
    batch, anchor = torch.nonzero(label == 1, as_tuple=True)
    face = which[batch, anchor]
    box = generalized_box_iou_loss(decode_boxes(anchors, deltas)[batch, anchor], boxes[batch, face], reduction="sum")
    target = (points[batch, face] - anchors[anchor, None, :2]) / anchors[anchor, None, 2:]
    point = F.smooth_l1_loss(offsets[batch, anchor], target, beta=0.05, reduction="sum")
    count = max(len(batch), 1)
    return focal_loss(logits, label), box / count, 0.25 * point / count
