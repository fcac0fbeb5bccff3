"""Portraits with an open mouth in silence: the lips must come together, and stay."""

from __future__ import annotations

import numpy as np

from anitalker.config import FPS
from anitalker.faces.landmarks import lip_opening
from scripts.evaluation.metrics import mean
from scripts.evaluation.session import Session
from scripts.evaluation.speaking import SILENCE
from scripts.evaluation.targets import CLOSED, OPEN_MOUTH
from scripts.training.data import load_stills

Still = tuple[np.ndarray, np.ndarray]  # picture uint8 [256,256,3], labelled landmarks [468,3]


def run(session: Session) -> dict:
    """The stills of the split whose mouths are widest open, filled up from train where too few are clearly open."""
    data, split, count = session.arguments.data, session.arguments.split, session.arguments.stills
    stills = widest(data, split, count)
    borrowed = widest(data, "train", count)[: count - len(stills)] if len(stills) < count else []
    stills += borrowed
    if not stills:
        return {}
    before = np.array([lip_opening(label) for _, label in stills], np.float64)
    after, last_frames = zip(*(keep_silent(session, image) for image, _ in stills), strict=True)
    session.progress(f"{len(stills)} open mouths in silence")
    session.sheet("open-mouths", [np.stack([image for image, _ in stills]), np.stack(last_frames)], columns=20)
    report = {
        "stills": len(stills),
        "opening_before": mean(before),
        "smallest_before": float(before.min()),
        "opening_after_1s": mean(after),
        "worst_after_1s": max(after),
        "share_closed": mean(np.array(after) <= CLOSED),
        "from_train": len(borrowed),
    }
    return {"open_mouths": report}


def widest(data: str, split: str, count: int) -> list[Still]:
    """At most `count` stills of a split, the widest open first; none whose mouth is not clearly open."""
    stills = [(image, label) for _, image, label in load_stills(data, (split,)) if lip_opening(label) >= OPEN_MOUTH]
    return sorted(stills, key=lambda still: -lip_opening(still[1]))[:count]


def keep_silent(session: Session, image: np.ndarray) -> tuple[float, np.ndarray]:
    """A still in silence: mean lip opening from 1 s to 3 s, and the last rendered frame."""
    model = session.model
    source = session.still_source(image)
    frames = model.render(source, model.speak(source, SILENCE, 0)[FPS :: 2 * session.arguments.stride])
    return mean(lip_opening(model.landmarks(frames))), frames[-1]
