"""Self-reenactment: a clip's first frame is driven by its later frames; cross-reenactment: by another person's clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from anitalker.config import POSE_SIZE
from anitalker.decoder.flow import landmark_flow, resize, warp
from anitalker.faces.landmarks import lip_opening
from scripts.evaluation import metrics
from scripts.evaluation.clips import EvalClip, Source
from scripts.evaluation.identity import identity_report
from scripts.evaluation.metrics import columns, mean
from scripts.evaluation.session import MetricNetworks, Session

PERCEPTUAL = ("perceptual", "mouth", "eyes")
FRAMES_OF_A_PERSON = 8  # of a clip, for the mean embedding of its person
GRID = 96  # of the untrained warp's flow

Rows = dict[str, dict[str, float]]


def run_self(session: Session) -> dict:
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
    rows, similar = columns(scores), columns(similar)
    report = {name: metrics.row_means(clips) for name, clips in rows.items()}
    report["gain"] = gain_on_copying(rows)
    if full := report.pop("full_code", None):
        for name in ("mean_code", "mean_expression"):
            report[name]["cost_psnr_face"] = full["psnr_face"] - report[name]["psnr_face"]
        shares = {key: full[key] / max(report["warp"][key], 1e-9) for key in PERCEPTUAL if key in full}
        report["warp"]["share"] = shares
    if similar:
        report["identity"] = identity_report(networks.clips, similar)
    return report | {distance.name: distance.result() for distance in networks.frechet} | networks.about()


def gain_on_copying(rows: dict[str, list[dict]]) -> dict:
    """dB above the copied source frame with intervals over clips, and the ratio of the landmark distances."""
    generated, copy, report = columns(rows["self_reenactment"]), columns(rows["copy"]), {}
    for key in ("psnr", "psnr_face"):
        gains = np.subtract(generated[key], copy[key])
        report[key] = {"mean": mean(gains), "interval": metrics.interval(gains)}
    return report | {"landmark_ratio": mean(generated["landmark"]) / max(mean(copy["landmark"]), 1e-9)}


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
    scorer_error = metrics.landmark_distance(model.landmarks(target), labels)
    rows["self_reenactment"]["landmark_scorer_error"] = mean(scorer_error)
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
        "psnr": metrics.psnr(mean([metrics.squared_error(a, b) for a, b in zip(output, target, strict=True)])),
        "psnr_face": metrics.face_psnr(output, target, labels),
        "ssim": mean(metrics.ssim(output, target)),
        "landmark": mean(metrics.landmark_distance(points, labels)),
    }
    if networks.perception is not None:
        values |= {key: mean(distances) for key, distances in networks.perception(output, target, labels).items()}
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


def run_cross(session: Session) -> dict:
    """The first frame of every clip is driven by the clip of the next other person, relative to that one's first frame.

    `nearer_to_portrait`: share of generated frames that look more like the portrait's person than like the driver.
    """
    ids, names, sources, people = [], [], [], []
    for clip in session.clips():
        ids.append(clip.row["id"])
        names.append(clip.row["identity"])
        sources.append(session.source(clip))
        people.append(mean_embedding(session, clip))
    scores, similar = [], []
    for driver, number, portrait in zip(session.clips(), range(len(ids)), partners(names), strict=True):
        if portrait is not None:
            pair = f"{ids[portrait]}-by-{ids[number]}"
            rows, similarities = drive(session, sources[portrait], driver, (people[portrait], people[number]), pair)
            scores.append(rows)
            similar.append(similarities)
            session.progress(f"cross-reenactment of {pair}")
    if not scores:
        return {}
    rows, similar = columns(scores), columns(similar)
    report = {name: metrics.row_means(pairs) for name, pairs in rows.items()} | {"pairs": len(rows["made"])}
    if similar:
        report["identity"] = identity_report(session.networks.clips, similar)
        nearer = [a > b for a, b in zip(similar["made"], similar["made_to_driver"], strict=True)]
        report |= metrics.with_interval("nearer_to_portrait", nearer, lambda chosen: mean(np.concatenate(chosen)))
    return {"cross": report}


def partners(people: Sequence[str]) -> list[int | None]:
    """For every clip (the name of its person) the number of the next clip of another person, if there is one."""
    count = len(people)
    orders = [[n % count for n in range(number + 1, number + count)] for number in range(count)]
    return [
        next((other for other in order if people[other] != name), None)
        for name, order in zip(people, orders, strict=True)
    ]


def mean_embedding(session: Session, clip: EvalClip) -> np.ndarray | None:
    """The person of a clip: the mean embedding of some true frames, of unit length [D]; None without a verifier."""
    if session.networks.verifier is None:
        return None
    _, frames, landmarks = clip.spread(FRAMES_OF_A_PERSON)
    embedding = session.networks.verifier(frames, landmarks).mean(0)
    return embedding / np.linalg.norm(embedding)


def drive(
    session: Session, source: Source, driver: EvalClip, people: tuple, pair: str
) -> tuple[Rows, dict[str, np.ndarray]]:
    """A portrait driven by a clip: errors per row (docs/evaluation.md), and similarities [T] to the portrait's person
    and to the driver, whose mean embeddings are `people`.
    """
    model, codes = session.model, session.codes[driver.row["id"]]
    picks = np.arange(0, len(codes), session.arguments.stride)
    asked = source.motion + codes[picks] - codes[0]
    targets = model.posed(source.landmarks, source.motion, asked)
    generated = model.render(source, asked)
    session.sheet(f"cross-{pair}", [driver.frames[picks], generated])
    rows, similar = {}, {}
    outputs = {"made": (generated, slice(None)), "warp": (untrained_warp(source, targets[::3]), slice(None, None, 3))}
    for name, (frames, some) in outputs.items():
        points, wanted, motion = model.landmarks(frames), targets[some], asked[some]
        expression_spread = max(motion[:, POSE_SIZE:].std(0).mean(), 1e-6)
        expression_error = np.abs(model.looks(frames)["motion"] - motion)[:, POSE_SIZE:]
        pose_error = np.rad2deg(model.poses(points) - model.poses(wanted))[:, :3]
        rows[name] = {
            "pose_error_degrees": mean(np.abs(pose_error)),
            "expression_error": mean(expression_error) / float(expression_spread),
            "landmark": mean(metrics.landmark_distance(points, wanted)),
            "lip_correlation": metrics.pearson(lip_opening(points), lip_opening(driver.landmarks[picks[some]])),
        }
        if session.networks.verifier is not None:
            embeddings = session.networks.verifier(frames, points)
            similar[name], similar[f"{name}_to_driver"] = (embeddings @ person for person in people)
    return rows, similar
