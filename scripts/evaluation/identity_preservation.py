"""Held-still check: stills of many kinds of people speak, and must stay who they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from anitalker.config import FPS, SAMPLE_RATE, InputError
from anitalker.faces.landmarks import face_height, lip_opening
from scripts.contact_sheet import evenly
from scripts.evaluation.metrics import bootstrap, mean
from scripts.evaluation.session import Session
from scripts.evaluation.targets import OPEN_MOUTH
from scripts.training.data import load_stills

WORST = 5
SHOWN = 6  # frames of each face on the sheets
SPEECH = 4  # seconds

Still = tuple[dict, np.ndarray, np.ndarray]  # manifest row, picture uint8 [256,256,3], landmarks [468,3]


def run(session: Session) -> dict:
    """Every still speaks; the generated frames after the first second are compared with the still itself.

    `percentile`: median over faces of each face's median percentile among pairs of different stills.
    """
    arguments, known = session.arguments, session.networks.stills
    stills = diverse(list(load_stills(arguments.data, (arguments.split,))), arguments.faces)
    if not stills or session.networks.verifier is None:
        return {}
    speech = first_speech(session)
    faces, similar, sheets = zip(*(speak_still(session, still, speech) for still in stills), strict=True)
    for face, values in zip(faces, similar, strict=True):
        face |= {"percentile": float(np.median(known.percentile(values))), "similarity": mean(values)}
    session.progress(f"{len(stills)} faces held still")
    worst = sorted(range(len(faces)), key=lambda i: faces[i]["similarity"])[:WORST]
    for number, i in enumerate(worst, 1):
        label = f"{faces[i]['id']}   similarity {faces[i]['similarity']:.2f}"
        session.save_sheet(f"held-worst-{number}-{faces[i]['id']}", [(label, sheets[i])])
    ranks = np.array([face["percentile"] for face in faces])
    opened = np.array([face["open_mouth"] for face in faces])
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
        "per_face": list(faces),
    }
    return {"held_still": report}


def first_speech(session: Session) -> np.ndarray:
    """The first seconds of the first clip with sound [N]: the same for every model."""
    for clip in session.clips(speech=True):
        if len(clip.speech) >= SPEECH * SAMPLE_RATE:
            return clip.speech[: SPEECH * SAMPLE_RATE]
    raise InputError(f"no clip has {SPEECH} s of sound for the held-still part; leave it out with --parts")


def speak_still(session: Session, still: Still, speech: np.ndarray) -> tuple[dict, np.ndarray, np.ndarray]:
    """A still that speaks: facts, similarities of the generated frames to it [T], and the frames of its sheet."""
    (row, image, label), model, verifier = still, session.model, session.networks.verifier
    source = session.still_source(image)
    generated = model.render(source, model.speak(source, speech, 0)[FPS :: 2 * session.arguments.stride])
    points = model.landmarks(generated)
    similar = (verifier(generated, points) * verifier(image[None], label[None])).sum(1)
    opening = lip_opening(points)
    facts = {
        "id": row["id"],
        "group": group_of(row),
        "open_mouth": bool(lip_opening(label) >= OPEN_MOUTH),
        "turned": turned(label),
        "opening": [float(opening.min()), float(opening.max())],
    }
    return facts, similar, np.concatenate([image[None], generated[evenly(len(generated), SHOWN)]])


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
