"""What the Hierarchical Aggregation Layer is worth, and what its codes give away.

Stages: codes are read again with one stage's weight at zero and the others scaled up, and from the last stage alone.
Shuffling: the decoder gets the HAL code of another person. Neither is a model trained without HAL: that is the
ablation's (scripts.ablate). Leakage: linear probes from the codes to the people (leakage.py).
"""

from __future__ import annotations

import numpy as np

from anitalker.config import POSE_SIZE
from anitalker.faces.landmarks import lip_opening
from scripts.evaluation.judges import Judges
from scripts.evaluation.leakage import leakage
from scripts.evaluation.metrics import bootstrap, hull_mask, interval, pearson, psnr, r2, squared_error
from scripts.evaluation.subject import EvalClip, Source, Subject

SECOND = 25  # frames


def variants(weights: np.ndarray) -> dict[str, np.ndarray]:
    """HAL's weights [S] as they are, without each stage, and with the last stage alone; each adds up to one."""
    found = {"all": weights}
    for stage in range(len(weights)):
        kept = weights * (np.arange(len(weights)) != stage)
        if kept.sum() > 1e-6:
            found[f"without_{stage + 1}"] = kept / kept.sum()
    return found | {"last_alone": (np.arange(len(weights)) == len(weights) - 1).astype(weights.dtype)}


class HalChecks:
    """Fed clip by clip; `strangers` are appearance codes of one frame of each clip, by the clip's id."""

    def __init__(self, subject: Subject, judges: Judges, strangers: dict[str, tuple], stride: int = 2) -> None:
        self.subject, self.judges, self.strangers, self.stride = subject, judges, strangers, stride
        self.variants = variants(subject.hal_weights())
        self.read: dict[str, list[tuple]] = {name: [] for name in self.variants}
        self.shuffled: list[dict] = []
        self.codes: dict[str, list[tuple[str, np.ndarray]]] = {}

    def add(self, clip: EvalClip, codes: np.ndarray) -> None:
        """codes [T,20] are those of all frames of the clip, filtered."""
        picks = np.arange(0, len(clip.frames), 2 * self.stride)
        frames, labels = clip.frames[picks], clip.landmarks[picks]
        poses, lips = self.subject.poses(labels), lip_opening(labels)
        for name, weights in self.variants.items():
            looks = self.subject.looks(frames, weights)
            motion = looks["motion"]
            moved = lip_opening(self.subject.posed(labels[0], motion[0], motion))
            self.read[name].append((motion[:, :POSE_SIZE], poses, moved, lips))
            if name == "all":
                self._remember(clip.row["identity"], codes, looks)
        self._shuffle(clip, codes, picks[1::3])

    def _remember(self, person: str, codes: np.ndarray, looks: dict[str, np.ndarray]) -> None:
        expression = codes[:, POSE_SIZE:]
        kinds = {
            "motion": codes,
            "pose": codes[:, :POSE_SIZE],
            "expression": expression,
            "expression_change": expression[SECOND:] - expression[:-SECOND],
            "identity_code": looks["identity"],
            "hal_code": looks["appearance"],
        }
        for name, values in kinds.items():
            self.codes.setdefault(name, []).append((person, values))

    def _shuffle(self, clip: EvalClip, codes: np.ndarray, picks: np.ndarray) -> None:
        """Self-reenactment with the clip's own HAL code and with that of the next other person."""
        ids = list(self.strangers)
        at = ids.index(clip.row["id"])
        order = [*ids[at + 1 :], *ids[:at]]
        others = [i for i in order if self.strangers[i][0] != clip.row["identity"]]
        if not others or not len(picks):
            return
        source = Source(clip.frames[0], self.subject.landmarks(clip.frames[:1])[0], codes[0])
        target, labels = clip.frames[picks], clip.landmarks[picks]
        row = {}
        for name, code in (("own", None), ("other", self.strangers[others[0]][1])):
            made = self.subject.render(source, codes[picks], code)
            faces = [hull_mask(points, made.shape[1]) for points in labels]
            errors = [squared_error(a, b)[mask].mean() for a, b, mask in zip(made, target, faces, strict=True)]
            row[name] = {"psnr_face": psnr(float(np.mean(errors)))}
            if self.judges.perception is not None:
                distances = self.judges.perception(made, target, labels)
                row[name] |= {key: float(np.mean(value)) for key, value in distances.items()}
        self.shuffled.append({key: row["own"][key] - row["other"][key] for key in row["own"]})

    def result(self) -> dict:
        """weights; per variant pose_r2 and lip_r with intervals over clips; what shuffling costs; leakage."""
        report: dict = {"weights": [float(w) for w in self.variants["all"]]}
        report["stages"] = {name: read_quality(clips) for name, clips in self.read.items()}
        if self.shuffled:
            # dB lost, and distance gained (a minus means that the stranger's code is worse).
            report["other_persons_code"] = {
                key: {"difference": float(np.mean(values)), "interval": interval(values)}
                for key in self.shuffled[0]
                for values in [[row[key] for row in self.shuffled]]
            }
        report["leakage"] = {name: leakage(clips) for name, clips in self.codes.items()}
        return report


def read_quality(clips: list[tuple]) -> dict:
    """(codes' pose [T,6], labels' pose, codes' lips [T], labels' lips) of clips -> R2 of the pose, r of the lips."""

    def pose(chosen: list[tuple]) -> float:
        return float(r2(*(np.concatenate([clip[side] for clip in chosen]) for side in (0, 1))).mean())

    def lips(chosen: list[tuple]) -> float:
        return float(np.mean([pearson(clip[2], clip[3]) for clip in chosen]))

    return {
        "pose_r2": pose(clips),
        "pose_r2_interval": bootstrap(clips, pose),
        "lip_r_within_clips": lips(clips),
        "lip_r_within_clips_interval": bootstrap(clips, lips),
    }
