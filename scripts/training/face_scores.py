"""Scores of the face network on unseen people: detector AP50 on made scenes, landmarks through the whole finder."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from anitalker.faces.detection import FaceFinder
from anitalker.faces.face_network import Detections, FaceNetwork
from anitalker.faces.landmarks import EYES, LIPS, eye_opening, face_height, lip_opening
from scripts.training.data import FrameCache, decode_frames, load_clips, load_stills
from scripts.training.loop import seed_all
from scripts.training.scenes import make_scenes


def score_detector(network: FaceNetwork, cache: FrameCache, scenes: int = 256) -> dict[str, float]:
    """AP50 on scenes of the cache's stills, with recall and precision at the threshold that is used."""
    seed_all(0)
    stills = np.flatnonzero(cache.clip < 0)
    size, hits, scores, faces = network.detector.config.long_side, [], [], 0
    for _ in range(scenes // 16):
        chosen = np.sort(np.random.choice(stills, 48))
        frames, landmarks = torch.from_numpy(cache.frames[chosen]), torch.from_numpy(cache.landmarks[chosen])
        pictures, boxes, _, valid = make_scenes(frames, landmarks, 16, size)
        faces += int(valid.sum())
        for found, truth in zip(
            network.detector.detect(pictures, 0.05), map(torch.Tensor.__getitem__, boxes, valid), strict=True
        ):
            hits += claim(found.boxes, truth)
            scores += found.scores.tolist()
    hits, scores = np.array(hits, bool), np.array(scores)
    sure = scores > 0.5
    return {
        "scenes": scenes,
        "faces": faces,
        "ap50": round(average_precision(hits, scores, faces), 4),
        "recall": round(float(hits[sure].sum() / faces), 4),
        "precision": round(float(hits[sure].mean()), 4),
    }


def claim(found: Tensor, truth: Tensor, least: float = 0.5) -> list[bool]:
    """Best first, each found box [F,4] takes the free true box [G,4] that it overlaps most, if by `least`."""
    from torchvision.ops import box_iou

    overlaps, hits = box_iou(found, truth), []
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


def coco_precisions(pairs: list[tuple[Detections, Tensor]]) -> dict[str, float]:
    """COCO's AP50 and AP50:95 by torchmetrics, from what was found in each picture and its true boxes [G,4].

    Empty where the extra `train` is not installed. 101 points of recall; `average_precision` takes all.
    """
    try:
        from torchmetrics.detection import MeanAveragePrecision

        metric = MeanAveragePrecision()
    except ImportError:  # torchmetrics itself, or pycocotools behind it
        return {}
    for found, truth in pairs:
        guess = {"boxes": found.boxes, "scores": found.scores, "labels": torch.zeros(len(found.boxes), dtype=torch.int)}
        metric.update([guess], [{"boxes": truth, "labels": torch.zeros(len(truth), dtype=torch.int)}])
    result = metric.compute()
    return {"coco_ap50": float(result["map_50"]), "coco_ap50_95": float(result["map"])}


def score_landmarks(network: FaceNetwork, data: str) -> dict:
    """Stills and clips of val: mean errors in percent of face height and of the distance of the outer eye corners.

    Clips: the face followed from frame to frame, not smoothed; also the correlations of lip and eye opening within each
    clip, and jitter, the frame-to-frame tremble (second difference) over that of the labels.
    """
    finder = FaceFinder(network)
    stills = [(lm * picture.shape[1], finder.find(picture)) for _, picture, lm in load_stills(data, ("val",))]
    found = [(truth, faces[0].landmarks) for truth, faces in stills if faces]
    report = {
        "stills": {"pictures": len(stills), "found": len(found), **errors(*map(np.stack, zip(*found, strict=True)))}
    }
    rows = []
    for clip in load_clips(data, ("val",)):
        frames, truth = decode_frames(clip.mp4), clip.landmarks * 256
        tracked = np.stack([face.landmarks for face in finder.track(frames, smooth=False)])
        count = min(len(tracked), len(truth))
        keep = clip.good[:count]
        rows.append(
            {
                "clip": clip.row["id"],
                **errors(truth[:count][keep], tracked[:count][keep]),
                **motion(truth[:count], tracked[:count]),
            }
        )
    names = [name for name in rows[0] if name != "clip"]
    report["clips"] = {name: round(float(np.mean([row[name] for row in rows])), 4) for name in names}
    report["per_clip"] = rows
    return report


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


def motion(truth: np.ndarray, guess: np.ndarray) -> dict[str, float]:
    """Correlation of lip and eye opening over a clip, and the ratio of trembles."""
    lips = np.corrcoef(lip_opening(truth), lip_opening(guess))[0, 1]
    lids = np.corrcoef(eye_opening(truth), eye_opening(guess))[0, 1]
    tremble = [np.abs(np.diff(points[..., :2], 2, axis=0)).mean() for points in (guess, truth)]
    return {
        "lip_r": round(float(lips), 4),
        "eye_r": round(float(lids), 4),
        "jitter": round(float(tremble[0] / tremble[1]), 3),
    }
