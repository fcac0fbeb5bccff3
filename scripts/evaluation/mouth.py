"""The mouth: fixed references from a clip's first third, frames of its last half, scored where the true mouth is.

Letters: T frames, K references, N = 468 landmarks.

Every row is drawn to the same points: `warp` (the landmark flow and nothing learned), `decoder` (without the mouth
synthesiser), `one`, `four`, `eight` (with so many references). The points are those of codes read from the pixels;
under `true_points` those of the labels.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

from anitalker.config import FPS
from anitalker.faces.landmarks import INNER_LIPS, OUTER_LIPS, lip_opening, rasterise
from encoders.image import to_tensor
from scripts.evaluation.clips import EvalClip, Source
from scripts.evaluation.frechet import frechet
from scripts.evaluation.perception import PARTS, patch
from scripts.evaluation.reenactment import untrained_warp
from scripts.evaluation.session import Session

COUNTS = {"one": 1, "four": 4, "eight": 8}  # references by row
ORDER = (0, 7, 4, 2, 1, 6, 3, 5)  # of eight moments: the first so many are spread over all of the time
LEAST_FRAMES = 100  # of a clip, 4 s
MOST_FRAMES = 24  # of a clip that are scored
TEETH_OPENING, SHUT_OPENING = 0.03, 0.012  # face heights: open enough to show teeth; shut
FRECHET_SIZE = 32  # principal components of the true patches' features
LUMA = (0.299, 0.587, 0.114)
LEVELS = 127.5  # of 255, in a picture of [-1,1]


def run(session: Session) -> dict:
    """Suite `mouth`: see docs/evaluation.md. Means over clips; Fréchet distances over all patches."""
    rows: dict[str, dict[str, list[dict[str, float]]]] = {name: defaultdict(list) for name in ("codes", "true_points")}
    features: dict[str, dict[str, list[Tensor]]] = {name: defaultdict(list) for name in rows}
    for clip in session.clips():
        chosen = choose_frames(len(clip.frames))
        if chosen is None:
            continue
        references, picks = chosen
        for name, drawn in draw(session, clip, references, picks).items():
            drawn["truth"] = clip.frames[picks]
            for row, frames in drawn.items():
                scores, patches = score(session, frames, clip.frames[picks], clip.landmarks[picks])
                rows[name][row].append(scores)
                features[name][row].append(patches)
        session.progress(f"mouth of {clip.row['id']}")
    if not rows["codes"]:
        return {}
    report = {name: summary(rows[name], features[name]) for name in rows}
    return {"mouth": report["codes"] | {"clips": len(rows["codes"]["warp"]), "true_points": report["true_points"]}}


def choose_frames(count: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Numbers of eight references in the first third, the portrait (frame 0) first, and of frames of the last half, all
    a second or more from any reference; None for a clip under 4 s."""
    if count < LEAST_FRAMES:
        return None
    others = np.linspace(0, count // 3, max(COUNTS.values())).round().astype(int)
    first = max(count // 2, count // 3 + FPS)
    picks = np.arange(first, count, max(2, (count - first) // MOST_FRAMES))[:MOST_FRAMES]
    return others[list(ORDER)], picks


def draw(session: Session, clip: EvalClip, references: np.ndarray, picks: np.ndarray) -> dict[str, dict]:
    """Rows of frames uint8 [T,256,256,3] for points by codes, and for true points."""
    model, codes = session.model, session.codes[clip.row["id"]]
    images, landmarks = clip.frames[references], model.landmarks(clip.frames[references])
    sources = [Source(*values) for values in zip(images, landmarks, codes[references], strict=True)]
    drive, labels = codes[picks], clip.landmarks[picks]
    labelled = [Source(*values) for values in zip(images, clip.landmarks[references], codes[references], strict=True)]
    rows: dict[str, dict] = {
        "codes": {"warp": untrained_warp(sources[0], model.posed(landmarks[0], codes[0], drive))},
        "true_points": {"warp": untrained_warp(labelled[0], labels)},
    }
    for name, count in {"decoder": 0, **COUNTS}.items():
        if count and model.talker.model.mouth is None:
            continue
        rows["codes"][name] = model.render(sources[0], drive, references=sources[:count])
        rows["true_points"][name] = model.render_landmarks(labelled[0], labels, drive, references=labelled[:count])
    return rows


def score(
    session: Session, output: np.ndarray, target: np.ndarray, labels: np.ndarray
) -> tuple[dict[str, float], Tensor]:
    """Scores of one clip's frames uint8 [T,256,256,3], and features [T,F] of its mouth patches.

    perceptual distance of the mouth; sharpness of what open lips show; flicker: change between scored frames against
    the true change, and shut: error on lips that are shut, both in levels of 255.
    """
    points = torch.from_numpy(labels.copy())
    a, b = (to_tensor(torch.from_numpy(pictures.copy())) for pictures in (output, target))
    perception = session.networks.perception
    mouths = [patch(x, points, *PARTS["mouth"][0]) for x in (a, b)]
    outer, inner = rasterise(points, (OUTER_LIPS, INNER_LIPS), a.shape[-1]).split(1, 1)
    opening = lip_opening(points)
    values = {"perceptual": float(np.mean(perception.distance(*mouths)))}
    teeth, shut = opening > TEETH_OPENING, opening < SHUT_OPENING
    if teeth.any():
        values["sharpness"] = _masked(_detail(a), inner, teeth) / max(_masked(_detail(b), inner, teeth), 1e-9)
    if shut.any():
        values["shut"] = LEVELS * _masked((a - b).abs().mean(1, keepdim=True), outer, shut)
    change = ((a[1:] - a[:-1]) - (b[1:] - b[:-1])).abs().mean(1, keepdim=True)
    values["flicker"] = LEVELS * _masked(change, outer[1:], torch.ones(len(change), dtype=torch.bool))
    with torch.inference_mode():
        maps = perception.network.features(mouths[0])
    return values, torch.cat([features.float().mean((2, 3)) for features in maps], 1)


def summary(rows: dict[str, list[dict[str, float]]], features: dict[str, list[Tensor]]) -> dict:
    """Means over clips by row, perceptual distances also over the warp's, Fréchet distances to the true patches."""
    real = torch.cat(features["truth"])
    mean, spread = real.mean(0), real.std(0).clamp(min=1e-6)
    axes = torch.linalg.svd((real - mean) / spread, full_matrices=False)[2][:FRECHET_SIZE]
    report: dict[str, dict[str, float]] = {}
    for name, clips in rows.items():
        if name == "truth":
            continue
        keys = {key for clip in clips for key in clip}
        report[name] = {key: float(np.mean([clip[key] for clip in clips if key in clip])) for key in sorted(keys)}
        drawn, true = ((x - mean) / spread @ axes.T for x in (torch.cat(features[name]), real))
        report[name]["frechet"] = frechet(drawn, true)
    for values in report.values():
        values["perceptual_ratio"] = values["perceptual"] / report["warp"]["perceptual"]
    return report


def _detail(pictures: Tensor) -> Tensor:
    """Magnitude of the Laplacian of luma, [T,3,H,W] -> [T,1,H,W]."""
    luma = (pictures * pictures.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    kernel = luma.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    return torch.nn.functional.conv2d(luma, kernel, padding=1).abs()


def _masked(field: Tensor, mask: Tensor, frames: Tensor) -> float:
    """Mean of [T,1,H,W] inside a mask [T,1,H,W] over some of the frames."""
    chosen = mask[frames]
    return float((field[frames] * chosen).sum() / chosen.sum().clamp(min=1e-6))
