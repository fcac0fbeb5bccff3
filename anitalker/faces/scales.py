"""Search a picture for faces at several scales, and merge what they find.

A detector sees faces of a tenth of the picture's side up to the whole of it. Small faces need a finer scale, a face
that fills the picture needs a coarser one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from anitalker.faces.face_network import Detections

LEAST_SCORE = 0.5  # of a face at the usual scale, or at two scales
SURE_SCORE = 0.8  # of a face that is found at one other scale only
OVERLAP = 0.35  # IoU above which two boxes are the same face
INSIDE = 0.7  # share of a box inside a better one above which it is a piece of that face, such as an eye
PREFERENCE = 0.1  # a sure box of the usual scale is taken unless another scale's score is higher by more
LARGE = 1 / 8  # of the picture's long side: from this size on, the usual scale knows a face best
FINEST = 4  # times the usual scale: bounds the time for a large picture


def search_sides(usual: int, picture: int) -> list[int]:
    """Long sides at which a picture of long side `picture` is searched: the usual one first, then others.

    A finer scale is worth its time only where the picture has more detail than the scale before shows.
    """
    finer = [usual * factor for factor in (2, 4) if factor <= FINEST and picture > usual * factor // 2]
    return [usual, usual // 2, *finer]


def merge(found: Sequence[Detections], large: float) -> Detections:
    """Detections of several scales in the same pixels, those of the usual scale first -> every face once, best first.

    A face counts if the usual scale shows it with LEAST_SCORE, another one with SURE_SCORE, or two with LEAST_SCORE,
    where it is shorter than `large` pixels. Box and score are the usual scale's where its box is not shorter, or its
    score is sure. Else the box is the mean of all scales', weighted by their scores (Solovyev et al., "Weighted boxes
    fusion", 2021).
    """
    boxes, scores, points = (torch.cat([getattr(d, name) for d in found]) for name in ("boxes", "scores", "points"))
    scale = torch.cat([torch.full_like(d.scores, n) for n, d in enumerate(found)])
    usual = scale == 0
    is_large = (boxes[:, 2:] - boxes[:, :2]).amax(-1) >= large
    best_known = usual & is_large
    sure = usual & (scores > SURE_SCORE) | best_known
    left, faces = (scores + PREFERENCE * sure + best_known).argsort(descending=True, stable=True), []
    while len(left):
        best = left[0]
        overlap, inside = overlaps(boxes[best], boxes[left])
        group = left[overlap > OVERLAP]
        left = left[(overlap <= OVERLAP) & (inside <= INSIDE)]
        agree = len(scale[group].unique()) > 1 and not is_large[best]
        if usual[group].any() or scores[best] > SURE_SCORE or agree:
            group = best[None] if sure[best] else group
            weight = scores[group] / scores[group].sum()
            box, point = (boxes[group] * weight[:, None]).sum(0), (points[group] * weight[:, None, None]).sum(0)
            faces.append((box, scores[best], point))
    if not faces:
        return Detections(boxes[:0], scores[:0], points[:0])
    return Detections(*map(torch.stack, zip(*faces, strict=True)))


def overlaps(box: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """IoU of a box [4] with boxes [F,4], and the share [F] of each of them that lies inside it."""
    low, high = torch.maximum(box[:2], boxes[:, :2]), torch.minimum(box[2:], boxes[:, 2:])
    intersection = (high - low).clamp(min=0).prod(1)
    areas, area = (boxes[:, 2:] - boxes[:, :2]).prod(1), (box[2:] - box[:2]).prod()
    return intersection / (area + areas - intersection), intersection / areas
