"""Stills that speak and must stay who they are; stills with an open mouth whose lips must come together in silence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from anitalker.config import FPS, SAMPLE_RATE, InputError
from anitalker.faces.landmarks import face_height, lip_opening
from scripts.contact_sheet import evenly
from scripts.evaluation.metrics import bootstrap, mean
from scripts.evaluation.session import Session
from scripts.evaluation.speaking import SILENCE
from scripts.training.data import load_stills

OPEN_MOUTH = 0.05  # lip opening over face height from which a still counts as clearly open
CLOSED = 0.025  # closed to the eye
WORST = 5
SHOWN = 6  # frames of each face on the sheets
SPEECH = 4  # seconds

Still = tuple[dict, np.ndarray, np.ndarray]  # manifest row, picture uint8 [256,256,3], labelled landmarks [468,3]


def run_held_still(session: Session) -> dict:
    """Every still speaks; the generated frames after the first second are compared with the still itself.

    `percentile`: median over faces of each face's median percentile among pairs of different stills.
    """
    arguments, known, verifier = session.arguments, session.networks.stills, session.networks.verifier
    stills = diverse(list(load_stills(arguments.data, (arguments.split,))), arguments.faces)
    if not stills or verifier is None:
        return {}
    speech, similar, shown, faces = first_speech(session), [], [], []
    for row, image, label in stills:
        generated = speak_still(session, image, speech)
        points = session.model.landmarks(generated)
        similar.append((verifier(generated, points) * verifier(image[None], label[None])).sum(1))
        shown.append(np.concatenate([image[None], generated[evenly(len(generated), SHOWN)]]))
        face = {"id": row["id"], "group": group_of(row), "open_mouth": bool(lip_opening(label) >= OPEN_MOUTH)}
        face |= {"turned": turned(label), "opening": np.percentile(lip_opening(points), [0, 100]).tolist()}
        face |= {"percentile": float(np.median(known.percentile(similar[-1]))), "similarity": mean(similar[-1])}
        faces.append(face)
    worst = sorted(range(len(faces)), key=lambda i: faces[i]["similarity"])[:WORST]
    for rank, i in enumerate(worst, 1):
        name, likeness = faces[i]["id"], faces[i]["similarity"]
        session.save_sheet(f"held-worst-{rank}-{name}", [(f"{name}   similarity {likeness:.2f}", shown[i])])
    ranks, opened = (np.array([face[key] for face in faces]) for key in ("percentile", "open_mouth"))
    report = {
        "faces": len(faces),
        "open_mouths": int(opened.sum()),
        "percentile": float(np.median(ranks)),
        "interval": bootstrap(ranks, lambda chosen: float(np.median(chosen))),
        "percentile_open": float(np.median(ranks[opened])) if opened.any() else None,
        "percentile_closed": float(np.median(ranks[~opened])) if not opened.all() else None,
        "percentile_same": float(np.median(known.percentile_same(np.concatenate(similar)))),
        "under_90": int((ranks < 90).sum()),
        "worst": [faces[i]["id"] for i in worst],
        "per_face": faces,
    }
    return {"held_still": report}


def run_silence(session: Session) -> dict:
    """The stills of the split whose mouths are widest open, filled up from train where too few are clearly open."""
    data, split, count = session.arguments.data, session.arguments.split, session.arguments.stills
    stills = widest(data, split, count)
    borrowed = widest(data, "train", count)[: count - len(stills)] if len(stills) < count else []
    stills += borrowed
    if not stills:
        return {}
    videos = [speak_still(session, image, SILENCE) for _, image, _ in stills]
    before = [float(lip_opening(label)) for *_, label in stills]
    after = [mean(lip_opening(session.model.landmarks(video))) for video in videos]
    images = np.stack([image for _, image, _ in stills])
    session.sheet("open-mouths", [images, np.stack([video[-1] for video in videos])], columns=20)
    report = {
        "stills": len(stills),
        "opening_before": mean(before),
        "smallest_before": min(before),
        "opening_after_1s": mean(after),
        "worst_after_1s": max(after),
        "share_closed": mean(np.array(after) <= CLOSED),
        "from_train": len(borrowed),
    }
    return {"open_mouths": report}


def speak_still(session: Session, image: np.ndarray, speech: np.ndarray) -> np.ndarray:
    """Frames of a still that speaks, from the first second on: uint8 [T,256,256,3]."""
    source = session.still_source(image)
    motion = session.model.speak(source, speech, 0)
    return session.model.render(source, motion[FPS :: 2 * session.arguments.stride])


def first_speech(session: Session) -> np.ndarray:
    """The first seconds of the first clip with sound [N]: the same for every model."""
    for clip in session.clips(speech=True):
        if len(clip.speech) >= SPEECH * SAMPLE_RATE:
            return clip.speech[: SPEECH * SAMPLE_RATE]
    raise InputError(f"no clip has {SPEECH} s of sound for the held-still part; leave it out with --parts")


def widest(data: str, split: str, count: int) -> list[Still]:
    """At most `count` stills of a split, the widest open first; none whose mouth is not clearly open."""
    stills = [still for still in load_stills(data, (split,)) if lip_opening(still[2]) >= OPEN_MOUTH]
    return sorted(stills, key=lambda still: -lip_opening(still[2]))[:count]


def group_of(row: dict) -> str:
    """Source and folder of a still: what its collection sorts by, such as sex and skin."""
    return f"{row.get('source', '')}:{row.get('source_path', '').rpartition('/')[0]}"


def turned(points: np.ndarray) -> float:
    """How far the nose tip [468,3] lies beside the middle of the cheeks, in face heights: 0 for a frontal face."""
    return float(abs(points[1, 0] - (points[234, 0] + points[454, 0]) / 2) / face_height(points))


def diverse(stills: Sequence[Still], count: int) -> list[Still]:
    """`count` stills, half of them with an open mouth where there are as many; the groups take turns, and within a
    group the most turned heads come first.
    """
    opened = in_turn([still for still in stills if lip_opening(still[2]) >= OPEN_MOUTH])
    closed = in_turn([still for still in stills if lip_opening(still[2]) < OPEN_MOUTH])
    half = opened[: count // 2]
    return [*half, *closed[: count - len(half)], *opened[len(half) :]][:count]


def in_turn(stills: Sequence[Still]) -> list[Still]:
    """The stills so that the groups take turns; within a group the most turned heads come first."""
    groups = defaultdict(list)
    for still in sorted(stills, key=lambda still: -turned(still[2])):
        groups[group_of(still[0])].append(still)
    rounds = [(rank, name, still) for name, queue in groups.items() for rank, still in enumerate(queue)]
    return [still for *_, still in sorted(rounds, key=lambda entry: entry[:2])]
