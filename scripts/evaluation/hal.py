"""What the Hierarchical Aggregation Layer is worth, and what its codes give away.

Stages: codes are read again with one stage's weight at zero and the others scaled up, and from the last stage alone.
Shuffling: the decoder gets the HAL code of another person. scripts.ablate trains models without HAL.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from anitalker.config import FPS, POSE_SIZE
from anitalker.faces.landmarks import lip_opening
from scripts.evaluation.clips import EvalClip
from scripts.evaluation.leakage import leakage
from scripts.evaluation.metrics import columns, face_psnr, interval, mean, pearson, r2, with_interval
from scripts.evaluation.session import Session


def run(session: Session) -> dict:
    """weights; per variant pose_r2 and lip_r with intervals over clips; what shuffling costs; leakage."""
    model, stride = session.model, session.arguments.stride
    variants = stage_variants(model.hal_weights())
    strangers = [(c.row["identity"], model.looks(c.frames[:1])["appearance"][0]) for c in session.clips()]
    readings, people_codes, costs = defaultdict(list), defaultdict(list), []
    for number, clip in enumerate(session.clips()):
        codes, picks = session.codes[clip.row["id"]], np.arange(0, len(clip.frames), 2 * stride)
        frames, labels = clip.frames[picks], clip.landmarks[picks]
        poses, lips = model.poses(labels), lip_opening(labels)
        for name, weights in variants.items():
            looks = model.looks(frames, weights)
            motion = looks["motion"]
            moved = lip_opening(model.posed(labels[0], motion[0], motion))
            readings[name].append((motion[:, :POSE_SIZE], poses, moved, lips))
            if name == "all":
                for kind, values in kinds_of_code(codes, looks).items():
                    people_codes[kind].append((clip.row["identity"], values))
        order = [*strangers[number + 1 :], *strangers[:number]]
        stranger = next((code for person, code in order if person != clip.row["identity"]), None)
        if stranger is not None and len(picks) > 1:
            costs.append(cost_of_shuffling(session, clip, picks[1::3], stranger))
        session.progress(f"HAL on {clip.row['id']}")
    report: dict = {"weights": variants["all"].tolist()}
    report["stages"] = {name: read_quality(clips) for name, clips in readings.items()}
    if costs:
        # dB lost, and distance gained (a minus means that the stranger's code is worse).
        report["other_persons_code"] = {
            key: {"difference": mean(values), "interval": interval(values)} for key, values in columns(costs).items()
        }
    return {"hal": report | {"leakage": {kind: leakage(clips) for kind, clips in people_codes.items()}}}


def stage_variants(weights: np.ndarray) -> dict[str, np.ndarray]:
    """HAL's weights [S] as they are, without each stage, and with the last stage alone; each adds up to one."""
    stages, variants = np.arange(len(weights)), {"all": weights}
    for stage in stages:
        kept = weights * (stages != stage)
        if kept.sum() > 1e-6:
            variants[f"without_{stage + 1}"] = kept / kept.sum()
    return variants | {"last_alone": (stages == stages[-1]).astype(weights.dtype)}


def kinds_of_code(codes: np.ndarray, looks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What may give the person away: filtered motion codes [T,20] and their parts, identity and HAL codes."""
    expression = codes[:, POSE_SIZE:]
    return {
        "motion": codes,
        "pose": codes[:, :POSE_SIZE],
        "expression": expression,
        "expression_change": expression[FPS:] - expression[:-FPS],  # over a second
        "identity_code": looks["identity"],
        "hal_code": looks["appearance"],
    }


def cost_of_shuffling(session: Session, clip: EvalClip, picks: np.ndarray, stranger: np.ndarray) -> dict[str, float]:
    """Self-reenactment of the frames `picks`: scores with the clip's own HAL code minus those with a stranger's."""
    source, codes = session.source(clip), session.codes[clip.row["id"]]
    target, labels, rows = clip.frames[picks], clip.landmarks[picks], []
    for appearance in (None, stranger):
        generated = session.model.render(source, codes[picks], appearance)
        rows.append({"psnr_face": face_psnr(generated, target, labels)})
        if session.networks.perception is not None:
            rows[-1] |= {
                key: mean(value) for key, value in session.networks.perception(generated, target, labels).items()
            }
    return {key: rows[0][key] - rows[1][key] for key in rows[0]}


def read_quality(clips: list[tuple]) -> dict:
    """(codes' pose [T,6], labels' pose, codes' lips [T], labels' lips) of clips -> R2 of the pose, r of the lips."""

    def pose(chosen: list[tuple]) -> float:
        return mean(r2(*(np.concatenate([clip[side] for clip in chosen]) for side in (0, 1))))

    correlations = [pearson(clip[2], clip[3]) for clip in clips]
    return with_interval("pose_r2", clips, pose) | with_interval("lip_r_within_clips", correlations)
