"""Named expressions as changes of the motion code: single ones, such as a smile, and the emotions that they make up.

A name stands for an action unit of the Facial Action Coding System (Ekman and Friesen, 1978) and for distances between
landmarks that it changes. The landmarks are linear in the code c (`MotionSpace.directions`), so near the average face
distances are too: y = J c. The least unusual change of the code that brings about y is the mean of c given y for
Gaussian codes of spread S: dc = S J' (J S J' + ridge)^-1 y. Values are in -1 .. 1; 1 is STRONG spreads of its distance.

Letters: T frames, M = 20 motion numbers, K = M - 6 of expression, A expressions.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from anitalker.config import GAZE_LIMITS, LANDMARKS, POSE_SIZE, RenderOptions
from anitalker.motion.motion_space import MotionSpace
from anitalker.motion.timeline import read_timeline
from anitalker.runtime.smoothstep import smoothstep

STRONG = 4.5  # spreads of an expression's distance over the training clips
RIDGE = 0.05  # of normalised distances, some of which depend on each other in few coefficients
HELD_RIDGE = 1e-3  # of the lids' opening and the lips' gap, which shall not change unasked
JAW_GAP = 0.5  # of the lips' gap, for each of the jaw
OPEN_LIPS = 0.08  # face heights: lips that speech has opened so far take all of the gap of an expression

Term = tuple[float, int | None, tuple[tuple[int, int], ...]]  # weight; None: distance, 1: of the second above the first
BROWS = ((33, 70), (33, 63), (33, 105), (133, 66), (133, 107), (263, 300), (263, 293), (263, 334), (362, 296))
LIDS: Term = (1.0, None, ((159, 145), (386, 374)))
LIP_GAP: Term = (1.0, None, ((13, 14),))
# Pairs of landmarks, and what of them grows with an expression.
DISTANCES: dict[str, tuple[Term, ...]] = {
    "smile": ((-1.0, None, ((61, 33), (291, 263))),),  # AU12
    "lip_corner_down": ((-1.0, 1, ((13, 61), (14, 61), (13, 291), (14, 291))),),  # AU15
    "mouth_stretch": ((1.0, None, ((61, 291),)),),  # AU20
    "jaw_open": ((1.0, None, ((152, 2),)),),  # AU26
    "brow_raise": ((1.0, 1, (*BROWS, (362, 336))),),  # AU1 and AU2
    "inner_brow_raise": ((1.0, 1, ((70, 107), (63, 66), (300, 336), (293, 296))),),  # AU1
    "brow_lower": ((-1.0, None, ((107, 336),)), (-1.0, 1, (*BROWS, (362, 336)))),  # AU4
    "lid_raise": (LIDS,),  # AU5
    "cheek_raise": ((-1.0, None, ((50, 145), (280, 374))),),  # AU6
    "nose_wrinkle": ((-1.0, None, ((129, 133), (358, 362))),),  # AU9
}
# After the emotions' prototypes in Ekman, Friesen and Hager, FACS Investigator's Guide, 2002, table 10-2.
EMOTIONS: dict[str, dict[str, float]] = {
    "neutral": {},
    "happy": {"smile": 0.8, "cheek_raise": 0.5},
    "sad": {
        **{"inner_brow_raise": 0.6, "brow_lower": 0.4, "lid_raise": -0.5},
        **{"lip_corner_down": 0.8, "mouth_stretch": 0.0, "jaw_open": -0.3},
    },
    "angry": {"brow_lower": 0.9, "lid_raise": 0.2, "mouth_stretch": -0.25},
    "surprised": {"brow_raise": 1.0, "lid_raise": 0.8, "jaw_open": 0.7},
    "afraid": {
        **{"brow_raise": 0.7, "inner_brow_raise": 0.5, "lid_raise": 0.8},
        **{"mouth_stretch": 0.3, "smile": -0.5, "lip_corner_down": 0.5, "jaw_open": 0.25},
    },
    "disgusted": {"nose_wrinkle": 0.8, "brow_lower": 0.4, "lip_corner_down": 0.4, "lid_raise": -0.3},
}


class Expressions:
    """The named expressions of a motion space."""

    def __init__(self, space: MotionSpace) -> None:
        shape, directions = space.canonical.double(), space.directions.double().reshape(LANDMARKS, 3, -1)
        terms = {**DISTANCES, "lids": (LIDS,), "lip gap": (LIP_GAP,)}
        self.names = tuple(terms)
        self.spread = space.motion_std[POSE_SIZE:].double()
        rows = torch.stack([_gradient(kind, shape, directions) for kind in terms.values()])
        self.sizes = (rows * self.spread).norm(dim=1)  # [A]: a spread of each distance, in face heights
        self.rows = rows * self.spread / self.sizes[:, None]  # [A,K], of normalised codes
        self.opening = float(measure((LIDS,), shape[None]))  # of the eyes, in face heights
        self.device = space.motion_std.device
        lids, gap = (self.names.index(name) for name in ("lids", "lip gap"))
        unit = torch.eye(len(self.names), dtype=torch.double, device=self.device)
        self._readers = torch.stack([rows[lids], rows[gap]]).float()  # [2,K]: lid opening and lip gap of codes
        sized = (unit[[lids, gap]] / self.sizes[[lids, gap], None]).to(self.rows)
        self._writers = self._solve(sized, (lids, gap)).float()  # [2,K]: codes that change one and not the other

    def change(self, values: Mapping[str, float | Tensor]) -> Tensor:
        """The change of the motion code by expressions and emotions, by name: [1,M], or [T,M] for values [T]."""
        total: dict[str, Tensor] = {}
        for name, value in values.items():
            for unit, share in EMOTIONS.get(name, {name: 1.0}).items():
                term = share * torch.as_tensor(value, dtype=torch.double, device=self.device).reshape(-1)
                total[unit] = total[unit] + term if unit in total else term
        frames = max((len(value) for value in total.values()), default=1)
        wanted = torch.zeros(frames, len(self.names), dtype=torch.double, device=self.device)
        for name, value in total.items():
            wanted[:, self.names.index(name)] = STRONG * value
        gap = self.names.index("lip gap")
        if "jaw_open" in total:
            wanted[:, gap] = JAW_GAP * STRONG * total["jaw_open"]
        kept = (*(self.names.index(name) for name in total), gap)
        change = torch.zeros(frames, POSE_SIZE + len(self.spread), device=self.device)
        change[:, POSE_SIZE:] = self._solve(wanted, kept).float()
        return change

    def read(self, motion: Tensor) -> Tensor:
        """How strong each expression is in codes [T,M], in the order of DISTANCES: [T,A], 0 in a face at rest."""
        strengths = (motion[:, POSE_SIZE:].double() / self.spread) @ self.rows[: len(DISTANCES)].T
        return strengths.float() / STRONG

    def express(self, motion: Tensor, start: Tensor, options: RenderOptions, eyes: Tensor) -> Tensor:
        """Motion [T,M] with the emotion, the expressions and the timeline of the options.

        start [1,M]: the portrait's code; eyes [M,M]: projection on lids and brows. An emotion takes the place of the
        portrait's own look there.
        """
        values: dict[str, float | Tensor] = dict(options.expressions)
        if options.timeline is not None:
            for name, course in read_timeline(options.timeline, len(motion)).items():
                if name not in GAZE_LIMITS:
                    values[name] = values.get(name, 0.0) + course
        if not values:
            return motion
        return self.apply(motion, self.change(values) - _emotion_share(values, start) * (start @ eyes), start)

    def apply(self, motion: Tensor, change: Tensor, rest: Tensor) -> Tensor:
        """Motion [T,M] with a change [1,M] or [T,M], of a face that rests in code `rest` [1,M].

        Lids that shut and lips that speech shuts stay shut: as far as they are, the change leaves them alone.
        """
        expression = motion[:, POSE_SIZE:]
        lids = (expression - rest[:, POSE_SIZE:]) @ self._readers[0]
        gap = expression @ self._readers[1]
        held = torch.stack([(-lids / self.opening).clamp(0, 1), 1 - smoothstep(gap / OPEN_LIPS)], 1)  # [T,2]
        moved = change[:, POSE_SIZE:] @ self._readers.T * held
        kept = change[:, POSE_SIZE:] - moved @ self._writers
        return motion + torch.nn.functional.pad(kept, (POSE_SIZE, 0))

    def _solve(self, wanted: Tensor, kept: tuple[int, ...]) -> Tensor:
        """Codes [n,K] that bring about wanted [n,A] of the distances `kept`, in their spreads; others are free."""
        indices = list(dict.fromkeys(kept))
        rows = self.rows[indices]
        ridge = torch.tensor([RIDGE if self.names[n] in DISTANCES else HELD_RIDGE for n in indices]).to(rows)
        gram = rows @ rows.T + ridge.diag()
        return torch.linalg.solve(gram, wanted[:, indices].T).T @ rows * self.spread


def _emotion_share(values: Mapping[str, float | Tensor], like: Tensor) -> Tensor:
    """How much of a face emotions decide on, 0 to 1: [1,1], or [T,1] for strengths [T]."""
    total = like.new_zeros(1)
    for name in EMOTIONS:
        if name in values:
            total = total + torch.as_tensor(values[name]).to(like)
    return total.clamp(0, 1)[:, None]


def _gradient(terms: tuple[Term, ...], shape: Tensor, directions: Tensor) -> Tensor:
    """How terms change with each coefficient, [K]; shape [N,3], directions [N,3,K]."""
    total = directions.new_zeros(directions.shape[2])
    for weight, axis, pairs in terms:
        for a, b in pairs:
            apart, towards = directions[a, :2] - directions[b, :2], shape[a, :2] - shape[b, :2]
            growth = apart[axis] if axis is not None else towards / towards.norm() @ apart
            total = total + weight / len(pairs) * growth
    return total


def measure(terms: tuple[Term, ...], shape: Tensor) -> Tensor:
    """The distance of terms in faces of canonical pose [n,N,3], in face heights -> [n]."""
    total = shape.new_zeros(len(shape))
    for weight, axis, pairs in terms:
        first, second = (shape[:, list(points), :2] for points in zip(*pairs, strict=True))
        apart = first - second
        total = total + weight * (apart.norm(dim=-1) if axis is None else apart[..., axis]).mean(1)
    return total
