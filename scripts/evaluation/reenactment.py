"""Self-reenactment (a clip's first frame driven by its later frames) and the motion codes against the labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from anitalker.config import CROP, POSE_SIZE
from anitalker.faces.landmarks import lip_opening
from scripts.evaluation.frechet import Frechet
from scripts.evaluation.judges import IdentityTable, Judges
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
PERCEPTUAL = ("perceptual", "mouth", "eyes")
GRID = 96  # of the untrained warp's flow


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


def untrained_warp(source: Source, targets: np.ndarray) -> np.ndarray:
    """The source under the landmark flow to targets [T,468,3] and nothing learned: uint8 [T,256,256,3]."""
    import torch

    from anitalker.decoder.flow import landmark_flow, resize, warp

    picture = torch.from_numpy(np.array(source.image)).permute(2, 0, 1)[None].float()
    start, made = torch.as_tensor(source.landmarks, dtype=torch.float32)[None], []
    with torch.inference_mode():
        for target in torch.as_tensor(targets, dtype=torch.float32):
            flow = resize(landmark_flow(start, target[None], GRID, 1e-3), picture.shape[-2:])
            made.append(warp(picture, flow)[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy())
    return np.stack(made)


class SelfReenactment:
    """Source: the first frame, its landmarks found by the face network. Drive: the codes of the later frames.

    Rows beside the score: `copy` (the source frame itself), `warp` (the landmark flow to the same points, nothing
    learned), `true_landmarks` (driven by the labels), and what it costs to take the codes away: `mean_code` (all 20
    numbers of source and drive are the mean's), `mean_expression` (the 14 of expression only). The last four are
    rendered for every third of the scored frames.

    outputs: frames that another system made of a clip, in place of rendering; then only the score and `copy` are there.
    """

    ablations = ("true_landmarks", "mean_code", "mean_expression")

    def __init__(
        self,
        subject: Subject,
        mean_code: np.ndarray | None = None,
        stride: int = 2,
        judges: Judges | None = None,
        outputs: Callable[[EvalClip], np.ndarray] | None = None,
    ) -> None:
        self.subject, self.mean_code, self.stride, self.outputs = subject, mean_code, stride, outputs
        self.judges = judges or Judges()
        self.rows: dict[str, list[dict]] = {}
        self.scorer: list[float] = []
        self.sheet: list[np.ndarray] = []  # of the last clip: true, reenacted; for contact sheets
        networks = (self.judges.inception, self.judges.i3d)
        self.frechet = [Frechet(network) for network in networks if network is not None]
        self.identity = IdentityTable(self.judges.clips) if self.judges.verifier else None

    def add(self, clip: EvalClip, codes: np.ndarray | None = None) -> None:
        """Render and score one clip; codes [T,20] are those of all its frames, filtered."""
        subject = self.subject
        picks = np.arange(1, len(clip.frames), self.stride)
        target, labels = clip.frames[picks], clip.landmarks[picks]
        found = subject.landmarks(clip.frames[:1])[0]
        if self.outputs is None:
            source = Source(clip.frames[0], found, codes[0])
            output = subject.render(source, codes[picks])
        else:
            output = self.outputs(clip)[picks]
        points = subject.landmarks(output)
        still = np.broadcast_to(clip.frames[0], target.shape)
        self._append("self_reenactment", output, points, target, labels)
        self._append("copy", still, np.broadcast_to(found, labels.shape), target, labels)
        self.scorer.append(float(landmark_distance(subject.landmarks(target), labels).mean()))
        self.sheet = [target, output]
        if self.identity is not None:
            self._identify(output, points, target, labels)
        for network in self.frechet:
            network.add(output, target)
        if self.outputs is None:
            for name in self.ablations:
                # Labels at both ends: the network's and the labels' own habits must not count as motion.
                begin = Source(source.image, clip.landmarks[0], codes[0]) if name == "true_landmarks" else source
                self._ablate(name, begin, codes[picks[::3]], target[::3], labels[::3])
            self._warp(source, codes[picks[::3]], target[::3], labels[::3])
            self._append("full_code", output[::3], points[::3], target[::3], labels[::3])

    def _ablate(self, name: str, source: Source, codes: np.ndarray, target: np.ndarray, labels: np.ndarray) -> None:
        start, drive = source.motion.copy(), codes.copy()
        first = POSE_SIZE if name == "mean_expression" else 0
        if name == "true_landmarks":
            output = self.subject.render_landmarks(source, labels, codes)
        else:
            start[first:] = drive[:, first:] = self.mean_code[first:]
            output = self.subject.render(Source(source.image, source.landmarks, start), drive)
        self._append(name, output, self.subject.landmarks(output), target, labels)

    def _warp(self, source: Source, codes: np.ndarray, target: np.ndarray, labels: np.ndarray) -> None:
        points = self.subject.posed(source.landmarks, source.motion, codes)
        output = untrained_warp(source, points)
        self._append("warp", output, self.subject.landmarks(output), target, labels)

    def _identify(self, output: np.ndarray, points: np.ndarray, target: np.ndarray, labels: np.ndarray) -> None:
        true = self.judges.verifier(target, labels)
        similar = self.judges.identity(output, points, true)
        self.identity.add("made", similar)
        # The same moment shares pose and light with its target; half a clip away only the person is the same.
        other = np.roll(true, len(true) // 2, 0)
        self.identity.add("made_other_moment", self.judges.identity(output, points, other))
        self.identity.add("true_other_moment", (true * other).sum(1))

    def _append(
        self, name: str, output: np.ndarray, points: np.ndarray, target: np.ndarray, labels: np.ndarray
    ) -> None:
        values = score(output, points, target, labels)
        if self.judges.perception is not None:
            distances = self.judges.perception(output, target, labels)
            values |= {key: float(np.mean(distances[key])) for key in PERCEPTUAL}
        self.rows.setdefault(name, []).append(values)

    def result(self) -> dict:
        """Every row as the mean over clips with 95% bootstrap intervals over clips, and the gains on copying."""
        means = {name: row_means(rows) for name, rows in self.rows.items()}
        full = means.pop("full_code", {})
        means["self_reenactment"]["landmark_scorer_error"] = float(np.mean(self.scorer))
        for name in ("mean_code", "mean_expression"):
            if name in means:
                means[name]["cost_psnr_face"] = full["psnr_face"] - means[name]["psnr_face"]
        pairs = list(zip(self.rows["self_reenactment"], self.rows["copy"], strict=True))
        gains = {key: [a[key] - b[key] for a, b in pairs] for key in ("psnr", "psnr_face")}
        means["gain"] = {key: {"mean": float(np.mean(v)), "interval": interval(v)} for key, v in gains.items()}
        ratio = means["self_reenactment"]["landmark"] / max(means["copy"]["landmark"], 1e-9)
        means["gain"]["landmark_ratio"] = ratio
        if "warp" in means:
            # On the same frames: the made ones' distance over that of the warp alone; under 1 the network helps.
            means["warp"]["share"] = {
                key: full[key] / max(means["warp"][key], 1e-9) for key in PERCEPTUAL if key in full
            }
        if self.identity is not None:
            means["identity"] = self.identity.result()
        means |= {network.network.name: network.result() for network in self.frechet}
        return means


def row_means(rows: list[dict]) -> dict:
    """Scores of clips -> their means, and under `interval` the 95% bootstrap intervals over clips."""
    means: dict = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    return means | {"interval": {key: interval([row[key] for row in rows]) for key in rows[0]}}


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
