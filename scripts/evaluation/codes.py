"""What the codes say: pose and lips against the labels, HAL's stages one by one, and, by linear probes, who it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from anitalker.config import FPS, POSE_SIZE
from anitalker.faces.landmarks import lip_opening
from scripts.evaluation.clips import EvalClip
from scripts.evaluation.metrics import bootstrap, columns, face_psnr, interval, mean, pearson, r2, with_interval
from scripts.evaluation.session import Session

POSE_NAMES = ("yaw", "pitch", "roll", "x", "y", "scale")
TRAIN, TEST = 0.4, 0.6  # a person's frames up to here teach the probe, those from there on judge it
WEIGHT_DECAY = 1e-2
LEAST = 10  # frames of a person


def run_accuracy(session: Session) -> dict:
    """pose_r2 per component and lip_r over all frames of all clips; lip_r_within_clips is the mean over clips.

    The lips are those of the first frame's label moved by the codes relative to the first frame's code, so that the
    expression directions, not the picture, are judged.
    """
    model, poses, label_poses, lips, label_lips = session.model, [], [], [], []
    for clip in session.clips():
        codes = session.codes[clip.row["id"]]
        poses.append(codes[:, :POSE_SIZE])
        label_poses.append(model.poses(clip.landmarks))
        lips.append(lip_opening(model.posed(clip.landmarks[0], codes[0], codes)))
        label_lips.append(lip_opening(clip.landmarks))
    pose_r2 = r2(np.concatenate(poses), np.concatenate(label_poses))
    report = {
        "pose_r2": dict(zip(POSE_NAMES, pose_r2.tolist(), strict=True)),
        "pose_r2_mean": mean(pose_r2),
        "lip_r": pearson(np.concatenate(lips), np.concatenate(label_lips)),
        "lip_r_within_clips": mean([pearson(a, b) for a, b in zip(lips, label_lips, strict=True)]),
    }
    return {"codes": report}


def linear_probe(features: np.ndarray, people: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Softmax regression on standardised features [N,D] of people 0..K-1 [N] -> answers for test [M,D]: [M].

    Every person counts alike, however many frames there are.
    """
    strength = 1 / (WEIGHT_DECAY * len(features))
    regression = LogisticRegression(C=strength, class_weight="balanced", tol=1e-8, max_iter=10_000)
    return make_pipeline(StandardScaler(), regression).fit(features, people).predict(test)


def leakage(clips: Sequence[tuple[str, np.ndarray]]) -> dict:
    """(person, features [T,D] in order of time) of clips -> accuracy of the probe, people counting alike.

    The first TRAIN of everybody's frames teach it, those from TEST on are asked, so that neighbours in time are not on
    both sides. What a person does all the time, a pose or a smile, counts as leakage too.
    """
    by_person = defaultdict(list)
    for name, features in clips:
        by_person[name].append(features)
    people = [rows for rows in map(np.concatenate, by_person.values()) if len(rows) >= LEAST]
    if len(people) < 2:
        return {}
    known = [rows[: int(TRAIN * len(rows))] for rows in people]
    asked = [rows[int(TEST * len(rows)) :] for rows in people]
    known_names, asked_names = (np.repeat(np.arange(len(people)), list(map(len, side))) for side in (known, asked))
    answers = linear_probe(np.concatenate(known), known_names, np.concatenate(asked))
    right = [mean(answers[asked_names == n] == n) for n in range(len(people))]
    return {"accuracy": mean(right), "interval": bootstrap(right), "chance": 1 / len(people), "people": len(people)}


def run_hal(session: Session) -> dict:
    """What the Hierarchical Aggregation Layer is worth, and what its codes give away (docs/evaluation.md).

    weights; per variant pose_r2 and lip_r with intervals over clips; what shuffling costs; leakage."""
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
