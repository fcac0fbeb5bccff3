"""Cross-reenactment: one person's portrait moves like another person. Still that person, and that motion?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anitalker.config import POSE_SIZE
from anitalker.faces.landmarks import face_height, lip_opening
from scripts.evaluation.judges import IdentityTable, Judges
from scripts.evaluation.metrics import bootstrap, interval, pearson
from scripts.evaluation.reenactment import untrained_warp
from scripts.evaluation.subject import EvalClip, Source, Subject


def partners(rows: Sequence[dict]) -> list[int]:
    """For every clip (manifest rows) the number of the next clip of another person; -1 if there is none."""
    people = [row["identity"] for row in rows]
    chosen = []
    for number, name in enumerate(people):
        order = [*range(number + 1, len(people)), *range(number)]
        chosen.append(next((other for other in order if people[other] != name), -1))
    return chosen


class CrossReenactment:
    """The first frame of every clip is driven by the clip of the next other person, relative to that one's first frame.

    Errors are measured on the made frames: pose by the rigid fit to the points that the face network finds, against
    the pose that was asked for; expression by reading the codes of the made frames again, against those asked for;
    lips by their opening against the driver's. `warp` is the landmark flow to the same points, nothing learned.
    """

    def __init__(self, subject: Subject, judges: Judges, stride: int = 2) -> None:
        self.subject, self.judges, self.stride = subject, judges, stride
        self.rows: dict[str, list[dict]] = {}
        self.identity = IdentityTable(judges.clips) if judges.verifier else None
        self.sheet: list[np.ndarray] = []  # of the last pair: driver, made

    def add(self, portrait: EvalClip, codes: np.ndarray, driver: EvalClip, drive: np.ndarray) -> None:
        """codes [T,20] of the portrait's clip, of which the first is used, and of the driving clip."""
        subject, picks = self.subject, np.arange(0, len(drive), self.stride)
        source = Source(portrait.frames[0], subject.landmarks(portrait.frames[:1])[0], codes[0])
        asked = codes[0] + drive[picks] - drive[0]
        targets = subject.posed(source.landmarks, source.motion, asked)
        made = subject.render(source, asked)
        self.sheet = [driver.frames[picks], made]
        self._score("made", made, targets, asked, portrait, driver, picks)
        some = slice(None, None, 3)
        warped = untrained_warp(source, targets[some])
        self._score("warp", warped, targets[some], asked[some], portrait, driver, picks[some])

    def _score(self, row, made, targets, asked, portrait: EvalClip, driver: EvalClip, picks: np.ndarray) -> None:
        points = self.subject.landmarks(made)
        seen, wanted = self.subject.poses(points), self.subject.poses(targets)
        read = self.subject.looks(made)["motion"]
        moved = np.maximum(asked[:, POSE_SIZE:].std(0).mean(), 1e-6)
        distance = np.linalg.norm(points[..., :2] - targets[..., :2], axis=-1).mean(-1) / face_height(targets)
        self.rows.setdefault(row, []).append({
            "pose_error_degrees": float(np.abs(np.rad2deg(seen - wanted)[:, :3]).mean()),
            "expression_error": float(np.abs(read - asked)[:, POSE_SIZE:].mean() / moved),
            "landmark": float(distance.mean()),
            "lip_correlation": pearson(lip_opening(points), lip_opening(driver.landmarks[picks])),
        })  # fmt: skip
        if self.identity is not None:
            own, others = self._people(portrait, driver)
            embeddings = self.judges.verifier(made, points)
            self.identity.add(row, (embeddings * own).sum(1))
            self.identity.add(f"{row}_to_driver", (embeddings * others).sum(1))

    def _people(self, portrait: EvalClip, driver: EvalClip) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings of the two people, each the mean over some of their true frames, of unit length: [D] each."""
        made = []
        for clip in (portrait, driver):
            picks = np.linspace(0, len(clip.frames) - 1, 8).round().astype(int)
            mean = self.judges.verifier(clip.frames[picks], clip.landmarks[picks]).mean(0)
            made.append(mean / np.linalg.norm(mean))
        return made[0], made[1]

    def result(self) -> dict:
        """Means over pairs with bootstrap intervals; `nearer_to_portrait`: share of made frames that look more like
        the portrait's person than like the driver."""
        report: dict = {}
        for row, pairs in self.rows.items():
            report[row] = {key: float(np.mean([pair[key] for pair in pairs])) for key in pairs[0]}
            report[row]["interval"] = {key: interval([pair[key] for pair in pairs]) for key in pairs[0]}
        report["pairs"] = len(self.rows["made"])
        if self.identity is not None:
            report["identity"] = self.identity.result()
            both = zip(self.identity.rows["made"], self.identity.rows["made_to_driver"], strict=True)
            nearer = [np.asarray(own > other, np.float64) for own, other in both]
            report["nearer_to_portrait"] = float(np.concatenate(nearer).mean())
            report["nearer_to_portrait_interval"] = bootstrap(
                nearer, lambda chosen: float(np.concatenate(chosen).mean())
            )
        return report
