"""Held-still check: stills of many kinds of people speak, and must stay who they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anitalker.config import FPS
from anitalker.faces.landmarks import face_height, lip_opening
from scripts.evaluation.judges import Judges
from scripts.evaluation.metrics import bootstrap
from scripts.evaluation.speaking import OPEN_MOUTH
from scripts.evaluation.subject import Source, Subject

WORST = 5
KEPT = 6  # frames of each face for the sheets

Still = tuple[dict, np.ndarray, np.ndarray]  # manifest row, picture uint8 [256,256,3], landmarks [468,3]


def group_of(row: dict) -> str:
    """Source and folder of a still: what its collection sorts by, such as sex and skin."""
    return f"{row.get('source', '')}:{row.get('source_path', '').rpartition('/')[0]}"


def diverse(stills: Sequence[Still], count: int) -> list[Still]:
    """`count` stills, half of them with an open mouth where there are as many; the groups take turns, and within a
    group the most turned heads come first.
    """
    opened = [still for still in stills if lip_opening(still[2]) >= OPEN_MOUTH]
    closed = [still for still in stills if lip_opening(still[2]) < OPEN_MOUTH]
    first = _in_turn(opened, count // 2)
    second = _in_turn(closed, count - len(first))
    rest = _in_turn(opened, len(opened))[len(first) :]
    return (first + second + rest)[:count]


def _in_turn(stills: Sequence[Still], count: int) -> list[Still]:
    groups: dict[str, list[Still]] = {}
    for still in sorted(stills, key=lambda still: -turned(still[2])):
        groups.setdefault(group_of(still[0]), []).append(still)
    queues, chosen = [groups[name] for name in sorted(groups)], []
    while len(chosen) < count and any(queues):
        chosen += [queue.pop(0) for queue in queues if queue]
    return chosen[:count]


def turned(points: np.ndarray) -> float:
    """How far the nose tip [468,3] lies beside the middle of the cheeks, in face heights: 0 for a frontal face."""
    return float(abs(points[1, 0] - (points[234, 0] + points[454, 0]) / 2) / face_height(points))


class HeldStill:
    """Every still speaks; the made frames of the second half are compared with the still itself."""

    def __init__(self, subject: Subject, judges: Judges, speech: np.ndarray, stride: int = 2) -> None:
        self.subject, self.judges, self.speech, self.stride = subject, judges, speech, stride
        self.faces: list[dict] = []
        self.frames: list[np.ndarray] = []  # per face the still and KEPT made frames
        self.similar: list[np.ndarray] = []

    def add(self, row: dict, image: np.ndarray, label: np.ndarray) -> None:
        """One still, uint8 [256,256,3], with its labelled points [468,3]."""
        subject = self.subject
        source = Source(image, subject.landmarks(image[None])[0], subject.codes(image[None])[0])
        motion = subject.speak(source, self.speech, 0)
        made = subject.render(source, motion[FPS :: 2 * self.stride])
        points = subject.landmarks(made)
        person = self.judges.verifier(image[None], label[None])
        self.similar.append(self.judges.identity(made, points, person))
        self.faces.append({
            "id": row["id"],
            "group": group_of(row),
            "open_mouth": bool(lip_opening(label) >= OPEN_MOUTH),
            "turned": turned(label),
            "opening": [float(lip_opening(points).min()), float(lip_opening(points).max())],
        })  # fmt: skip
        some = np.linspace(0, len(made) - 1, KEPT).round().astype(int)
        self.frames.append(np.concatenate([image[None], made[some]]))

    def result(self) -> dict:
        """Percentile of the similarity among pairs of different stills: median over faces of each face's median."""
        known = self.judges.stills
        ranks = [float(np.median(known.percentile(values))) for values in self.similar]
        for face, rank, values in zip(self.faces, ranks, self.similar, strict=True):
            face |= {"percentile": rank, "similarity": float(values.mean())}
        split = {True: [], False: []}
        for face in self.faces:
            split[face["open_mouth"]].append(face["percentile"])
        return {
            "faces": len(self.faces),
            "open_mouths": len(split[True]),
            "percentile": float(np.median(ranks)),
            "interval": bootstrap(ranks, lambda chosen: float(np.median(chosen))),
            "percentile_open": float(np.median(split[True])) if split[True] else None,
            "percentile_closed": float(np.median(split[False])) if split[False] else None,
            "percentile_same": float(np.median(known.percentile_same(np.concatenate(self.similar)))),
            "under_90": sum(rank < 90 for rank in ranks),
            "worst": [self.faces[i]["id"] for i in self.order()[:WORST]],
            "per_face": self.faces,
        }

    def order(self) -> list[int]:
        """Numbers of the faces, the least similar first."""
        return sorted(range(len(self.similar)), key=lambda i: float(self.similar[i].mean()))

    def worst(self) -> list[tuple[str, np.ndarray]]:
        """Label and frames [1 + KEPT,256,256,3] of the WORST faces, the still first."""
        return [
            (f"{self.faces[i]['id']}   similarity {self.similar[i].mean():.2f}", self.frames[i])
            for i in self.order()[:WORST]
        ]
