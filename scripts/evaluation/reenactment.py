"""Self-reenactment: a clip's first frame is driven by its later frames."""

from __future__ import annotations

import numpy as np
import torch

from anitalker.config import POSE_SIZE
from anitalker.decoder.flow import landmark_flow, resize, warp
from scripts.evaluation import metrics
from scripts.evaluation.clips import EvalClip, Source
from scripts.evaluation.identity import identity_report
from scripts.evaluation.metric_networks import MetricNetworks
from scripts.evaluation.session import Session

PERCEPTUAL = ("perceptual", "mouth", "eyes")
GRID = 96  # of the untrained warp's flow

Rows = dict[str, dict[str, float]]


def run(session: Session) -> dict:
    """Every row (docs/evaluation.md) as the mean over clips with bootstrap intervals, gains on copying, identity.

    Another system's videos have the rows `self_reenactment` and `copy` only.
    """
    networks, scores, similar = session.networks, [], []
    mean_code = None if session.videos else np.mean([codes.mean(0) for codes in session.codes.values()], 0)
    for clip in session.clips():
        target, output, rows, similarities = reenact(session, clip, mean_code)
        scores.append(rows)
        similar.append(similarities)
        for distance in networks.frechet:
            distance.add(output, target)
        session.sheet(clip.row["id"], [target, output])
        session.progress(f"reenactment of {clip.row['id']}")
    rows, similar = metrics.columns(scores), metrics.columns(similar)
    report = {name: metrics.row_means(clips) for name, clips in rows.items()}
    report["gain"] = gain_on_copying(rows)
    if full := report.pop("full_code", None):
        for name in ("mean_code", "mean_expression"):
            report[name]["cost_psnr_face"] = full["psnr_face"] - report[name]["psnr_face"]
        # The generated frames' distance over that of the warp alone, on the same frames; under 1 the network helps.
        report["warp"]["share"] = {k: full[k] / max(report["warp"][k], 1e-9) for k in PERCEPTUAL if k in full}
    if similar:
        report["identity"] = identity_report(networks.clips, similar)
    return report | {distance.name: distance.result() for distance in networks.frechet} | networks.about()


def gain_on_copying(rows: dict[str, list[dict]]) -> dict:
    """dB above the copied source frame with intervals over clips, and the ratio of the landmark distances."""
    report = {}
    for key in ("psnr", "psnr_face"):
        gains = [
            generated[key] - copy[key] for generated, copy in zip(rows["self_reenactment"], rows["copy"], strict=True)
        ]
        report[key] = {"mean": metrics.mean(gains), "interval": metrics.interval(gains)}
    generated, copy = (metrics.mean(metrics.columns(rows[name])["landmark"]) for name in ("self_reenactment", "copy"))
    return report | {"landmark_ratio": generated / max(copy, 1e-9)}


def reenact(
    session: Session, clip: EvalClip, mean_code: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, Rows, dict[str, np.ndarray]]:
    """One clip: target and output uint8 [T,256,256,3], the scores of every row, similarities of identity [T]."""
    model, networks = session.model, session.networks
    picks = np.arange(1, len(clip.frames), session.arguments.stride)
    target, labels = clip.frames[picks], clip.landmarks[picks]
    source_points = model.landmarks(clip.frames[:1])[0]
    if session.videos:
        output = session.videos(clip)[picks]
    else:
        codes = session.codes[clip.row["id"]]
        source = Source(clip.frames[0], source_points, codes[0])
        output = model.render(source, codes[picks])
    points, copies = model.landmarks(output), np.broadcast_to(clip.frames[0], target.shape)
    rows = {
        "self_reenactment": score(networks, output, points, target, labels),
        "copy": score(networks, copies, np.broadcast_to(source_points, labels.shape), target, labels),
    }
    rows["self_reenactment"]["landmark_scorer_error"] = metrics.mean(
        metrics.landmark_distance(model.landmarks(target), labels)
    )
    if not session.videos:
        third, third_labels, drive = target[::3], labels[::3], codes[picks[::3]]
        rows["full_code"] = score(networks, output[::3], points[::3], third, third_labels)
        # Labels at both ends: the network's and the labels' own habits must not count as motion.
        labelled = Source(source.image, clip.landmarks[0], codes[0])
        frames = {
            "true_landmarks": model.render_landmarks(labelled, third_labels, drive),
            "warp": untrained_warp(source, model.posed(source.landmarks, source.motion, drive)),
        }
        for name, first in (("mean_code", 0), ("mean_expression", POSE_SIZE)):
            start, averaged = source.motion.copy(), drive.copy()
            start[first:] = averaged[:, first:] = mean_code[first:]
            frames[name] = model.render(Source(source.image, source.landmarks, start), averaged)
        for name, generated in frames.items():
            rows[name] = score(networks, generated, model.landmarks(generated), third, third_labels)
    similar = similarities(networks, output, points, target, labels) if networks.verifier else {}
    return target, output, rows, similar


def score(
    networks: MetricNetworks, output: np.ndarray, points: np.ndarray, target: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    """One clip's scores of output against target, uint8 [T,256,256,3].

    Errors are averaged over the frames of the clip, in the face over the pixels inside the hull of that frame's labels
    [T,468,3], and only then turned into dB. `points` [T,468,3] are the face network's on the output.
    """
    values = {
        "psnr": metrics.psnr(metrics.mean([metrics.squared_error(a, b) for a, b in zip(output, target, strict=True)])),
        "psnr_face": metrics.face_psnr(output, target, labels),
        "ssim": metrics.mean(metrics.ssim(output, target)),
        "landmark": metrics.mean(metrics.landmark_distance(points, labels)),
    }
    if networks.perception is not None:
        values |= {
            key: metrics.mean(distances) for key, distances in networks.perception(output, target, labels).items()
        }
    return values


def similarities(
    networks: MetricNetworks, output: np.ndarray, points: np.ndarray, target: np.ndarray, labels: np.ndarray
) -> dict[str, np.ndarray]:
    """Similarities [T] of the generated frames to the true ones of the same moment and of half a clip away.

    The same moment shares pose and light with its target; half a clip away only the person is the same.
    """
    generated, true = networks.verifier(output, points), networks.verifier(target, labels)
    other = np.roll(true, len(true) // 2, 0)
    pairs = {"made": (generated, true), "made_other_moment": (generated, other), "true_other_moment": (true, other)}
    return {name: (a * b).sum(1) for name, (a, b) in pairs.items()}


@torch.inference_mode()
def untrained_warp(source: Source, targets: np.ndarray) -> np.ndarray:
    """The source under the landmark flow to targets [T,468,3] and nothing learned: uint8 [T,256,256,3]."""
    picture = torch.from_numpy(np.array(source.image)).permute(2, 0, 1)[None].float()
    start, frames = torch.as_tensor(source.landmarks, dtype=torch.float32)[None], []
    for target in torch.as_tensor(targets, dtype=torch.float32):
        flow = resize(landmark_flow(start, target[None], GRID, 1e-3), picture.shape[-2:])
        frames.append(warp(picture, flow)[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy())
    return np.stack(frames)
