"""Self-reenactment (a clip's first frame driven by its later frames) and the motion codes against the labels."""

from __future__ import annotations

import numpy as np

from anitalker.config import CROP, POSE_SIZE
from anitalker.landmarks import lip_opening
from scripts.evaluation.metrics import (
    hull_mask,
    interval,
    landmark_distance,
    pearson,
    psnr,
    r2,
    squared_error,
    ssim,
)
from scripts.evaluation.subject import EvalClip, Source, Subject

POSE_NAMES = ("yaw", "pitch", "roll", "x", "y", "scale")
KEYS = ("psnr", "psnr_face", "ssim", "landmark")


def score(output: np.ndarray, points: np.ndarray, target: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """One clip's scores of output against target, uint8 [T,256,256,3].

    Errors are averaged over the frames of the clip, in the face over the pixels inside the hull of that frame's labels
    [T,468,3], and only then turned into dB. `points` [T,468,3] are the face network's on the output.
    """
    errors = [squared_error(o, t) for o, t in zip(output, target, strict=True)]
    in_face = [error[hull_mask(label, CROP)].mean() for error, label in zip(errors, labels, strict=True)]
    return {
        "psnr": psnr(float(np.mean(errors))),
        "psnr_face": psnr(float(np.mean(in_face))),
        "ssim": float(ssim(output, target).mean()),
        "landmark": float(landmark_distance(points, labels).mean()),
    }


class SelfReenactment:
    """Source: the first frame, its landmarks found by the face network. Drive: the codes of the later frames.

    Rows beside the score: `copy` (the source frame itself), `true_landmarks` (driven by the labels), and what it costs
    to take the codes away: `mean_code` (all 20 numbers of source and drive are the mean's), `mean_expression` (the 14
    of expression only). The last three are rendered for every third of the scored frames.
    """

    ablations = ("true_landmarks", "mean_code", "mean_expression")

    def __init__(self, subject: Subject, mean_code: np.ndarray, stride: int = 2) -> None:
        self.subject, self.mean_code, self.stride = subject, mean_code, stride
        self.rows: dict[str, list[dict]] = {}
        self.scorer: list[float] = []
        self.sheet: list[np.ndarray] = []  # of the last clip: true, reenacted; for contact sheets

    def add(self, clip: EvalClip, codes: np.ndarray) -> None:
        """Render and score one clip; codes [T,20] are those of all its frames, filtered."""
        subject = self.subject
        source = Source(clip.frames[0], subject.landmarks(clip.frames[:1])[0], codes[0])
        picks = np.arange(1, len(clip.frames), self.stride)
        target, labels = clip.frames[picks], clip.landmarks[picks]
        output = subject.render(source, codes[picks])
        self._append("self_reenactment", score(output, subject.landmarks(output), target, labels))
        found = np.broadcast_to(source.landmarks, labels.shape)
        self._append("copy", score(np.broadcast_to(source.image, target.shape), found, target, labels))
        self.scorer.append(float(landmark_distance(subject.landmarks(target), labels).mean()))
        self.sheet = [target, output]
        for name in self.ablations:
            # Labels at both ends: the network's and the labels' own habits must not count as motion.
            begin = Source(source.image, clip.landmarks[0], codes[0]) if name == "true_landmarks" else source
            self._ablate(name, begin, codes[picks[::3]], target[::3], labels[::3])
        self._append("full_code", score(output[::3], subject.landmarks(output[::3]), target[::3], labels[::3]))

    def _ablate(self, name: str, source: Source, codes: np.ndarray, target: np.ndarray, labels: np.ndarray) -> None:
        start, drive = source.motion.copy(), codes.copy()
        first = POSE_SIZE if name == "mean_expression" else 0
        if name == "true_landmarks":
            output = self.subject.render_landmarks(source, labels, codes)
        else:
            start[first:] = drive[:, first:] = self.mean_code[first:]
            output = self.subject.render(Source(source.image, source.landmarks, start), drive)
        self._append(name, score(output, self.subject.landmarks(output), target, labels))

    def _append(self, name: str, values: dict) -> None:
        self.rows.setdefault(name, []).append(values)

    def result(self) -> dict:
        """Every row as the mean over clips, and 95% intervals over clips of the gains on copying."""
        means = {}
        for name, rows in self.rows.items():
            means[name] = {key: float(np.mean([row[key] for row in rows])) for key in KEYS}
        full = means.pop("full_code")
        means["self_reenactment"]["landmark_scorer_error"] = float(np.mean(self.scorer))
        for name in ("mean_code", "mean_expression"):
            means[name]["cost_psnr_face"] = full["psnr_face"] - means[name]["psnr_face"]
        pairs = list(zip(self.rows["self_reenactment"], self.rows["copy"], strict=True))
        gains = {key: [a[key] - b[key] for a, b in pairs] for key in ("psnr", "psnr_face")}
        means["gain"] = {key: {"mean": float(np.mean(v)), "interval": interval(v)} for key, v in gains.items()}
        ratio = means["self_reenactment"]["landmark"] / max(means["copy"]["landmark"], 1e-9)
        means["gain"]["landmark_ratio"] = ratio
        return means


class CodeAccuracy:
    """The codes read from pixels against the labels: pose R2 per component, correlation of the lip opening.

    The lips are those of the first frame's label moved by the codes relative to the first frame's code, so that the
    expression directions, not the picture, are judged.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.poses: list[tuple[np.ndarray, np.ndarray]] = []
        self.lips: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, clip: EvalClip, codes: np.ndarray) -> None:
        """One clip with the filtered codes [T,20] of all its frames."""
        self.poses.append((codes[:, :POSE_SIZE], self.subject.poses(clip.landmarks)))
        moved = self.subject.posed(clip.landmarks[0], codes[0], codes)
        self.lips.append((lip_opening(moved), lip_opening(clip.landmarks)))

    def result(self) -> dict:
        """pose_r2 per component and lip_r over all frames of all clips; lip_r_within_clips is the mean over clips."""
        values = r2(*(np.concatenate(side) for side in zip(*self.poses, strict=True)))
        within = [pearson(a, b) for a, b in self.lips]
        return {
            "pose_r2": {name: float(value) for name, value in zip(POSE_NAMES, values, strict=True)},
            "pose_r2_mean": float(values.mean()),
            "lip_r": pearson(*(np.concatenate(side) for side in zip(*self.lips, strict=True))),
            "lip_r_within_clips": float(np.mean(within)),
        }
