"""The codes read from pixels against the labels: pose R2 per component, correlation of the lip opening."""

from __future__ import annotations

import numpy as np

from anitalker.config import POSE_SIZE
from anitalker.faces.landmarks import lip_opening
from scripts.evaluation.metrics import mean, pearson, r2
from scripts.evaluation.session import Session

POSE_NAMES = ("yaw", "pitch", "roll", "x", "y", "scale")


def run(session: Session) -> dict:
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
