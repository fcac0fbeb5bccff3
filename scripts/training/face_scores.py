"""Scores of the face network on unseen people: detector AP on composed scenes, errors of landmarks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from anitalker.faces.face_network import Detections
from anitalker.faces.landmarks import EYES, LIPS, face_height, lip_opening
from scripts.training.data import FrameCache
from scripts.training.loop import seed_all
from scripts.training.scenes import make_scenes

AT_ONCE = 16
LEAST = 0.05  # score of what counts for the precision; the rest is hardly ever right

Scenes = list[tuple[Detections, Tensor]]  # what a detector found in each scene, and the true boxes [G,4]


@torch.inference_mode()
def detect_in_scenes(detect: Callable[[Tensor], list], cache: FrameCache, scenes: int, size: int) -> Scenes:
    """A detector's answers on scenes of the cache's stills, always the same; detect: pictures [B,3,S,S] in [-1,1] ->
    list of Detections, surest first."""
    seed_all(0)
    stills, answers = np.flatnonzero(cache.clip < 0), []
    for _ in range(max(scenes // AT_ONCE, 1)):
        chosen = np.sort(np.random.choice(stills, 3 * AT_ONCE))
        frames, landmarks = torch.from_numpy(cache.frames[chosen]), torch.from_numpy(cache.landmarks[chosen])
        pictures, boxes, _, valid = make_scenes(frames, landmarks, AT_ONCE, size)
        state = torch.get_rng_state()  # the scenes are the same, whatever a detector draws
        answers += [(seen, box[real]) for seen, box, real in zip(detect(pictures), boxes, valid, strict=True)]
        torch.set_rng_state(state)
    return answers


def hits_and_scores(answers: Scenes, least: float = 0.5) -> tuple[np.ndarray, np.ndarray, int]:
    """Which detections claim a true box by an overlap of `least` (bool [N]), their scores [N], and how many faces there
    are."""
    hits = [hit for seen, boxes in answers for hit in claim(seen.boxes, boxes, least)]
    scores = [score for seen, _ in answers for score in seen.scores.tolist()]
    return np.array(hits, bool), np.array(scores), sum(len(boxes) for _, boxes in answers)


def claim(boxes: Tensor, truth: Tensor, least: float = 0.5) -> list[bool]:
    """Best first, each box [F,4] takes the free true box [G,4] that it overlaps most, if by `least`."""
    overlaps, hits = box_iou(boxes, truth), []
    for row in overlaps:
        hit = len(row) > 0 and float(row.max()) >= least
        if hit:
            overlaps[:, int(row.argmax())] = 0
        hits.append(hit)
    return hits


def average_precision(hits: np.ndarray, scores: np.ndarray, faces: int) -> float:
    """Area under precision over recall, precision made monotonic (PASCAL VOC, 2010)."""
    hits = hits[np.argsort(-scores, kind="stable")]
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((best * hits).sum() / faces)


def coco_precisions(answers: Scenes) -> dict[str, float]:
    """COCO's AP50 and AP50:95 by torchmetrics; empty where the extra `train` is not installed.

    COCO takes 101 points of recall, `average_precision` all.
    """
    try:
        from torchmetrics.detection import MeanAveragePrecision

        metric = MeanAveragePrecision()
    except ImportError:  # torchmetrics itself, or pycocotools behind it
        return {}
    for seen, truth in answers:
        guess = {"boxes": seen.boxes, "scores": seen.scores, "labels": torch.zeros(len(seen.boxes), dtype=torch.int)}
        metric.update([guess], [{"boxes": truth, "labels": torch.zeros(len(truth), dtype=torch.int)}])
    result = metric.compute()
    return {"coco_ap50": float(result["map_50"]), "coco_ap50_95": float(result["map"])}


def still_errors(answers: list[tuple[np.ndarray, list]]) -> dict:
    """(true points [468,3] in pixels, the faces of `FaceFinder.find`) of pictures -> errors of those with a face."""
    pairs = [(truth, faces[0].landmarks) for truth, faces in answers if faces]
    return {"pictures": len(answers), "found": len(pairs), **errors(*map(np.stack, zip(*pairs, strict=True)))}


def errors(truth: np.ndarray, guess: np.ndarray) -> dict[str, float]:
    """Mean distances in the picture plane, in percent; lips and eyes also by themselves."""
    distance = np.linalg.norm((guess - truth)[..., :2], axis=-1)
    height = face_height(truth)[:, None]
    eyes = np.linalg.norm((truth[:, 33] - truth[:, 263])[:, :2], axis=-1)[:, None]
    percent = {"face_height": distance / height, "inter_ocular": distance / eyes}
    percent |= {"lips": distance[:, LIPS] / height, "eyes": distance[:, EYES] / height}
    result = {name: round(100 * float(values.mean()), 3) for name, values in percent.items()}
    result["lip_opening"] = round(100 * float(np.abs(lip_opening(guess) - lip_opening(truth)).mean()), 3)
    return result
