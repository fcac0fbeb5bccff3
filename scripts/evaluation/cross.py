"""Cross-reenactment: one person's portrait moves like another person. Still that person, and that motion?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anitalker.config import POSE_SIZE
from anitalker.faces.landmarks import lip_opening
from scripts.evaluation.clips import EvalClip, Source
from scripts.evaluation.identity import identity_report
from scripts.evaluation.metrics import columns, landmark_distance, mean, pearson, row_means, with_interval
from scripts.evaluation.reenactment import untrained_warp
from scripts.evaluation.session import Session

FRAMES = 8  # of a clip, for the mean embedding of its person


def run(session: Session) -> dict:
    """The first frame of every clip is driven by the clip of the next other person, relative to that one's first frame.

    `nearer_to_portrait`: share of generated frames that look more like the portrait's person than like the driver.
    """
    ids, names, sources, embeddings, scores, similar = [], [], [], [], [], []
    for clip in session.clips():
        ids.append(clip.row["id"])
        names.append(clip.row["identity"])
        sources.append(session.source(clip))
        embeddings.append(mean_embedding(session, clip))
    for driver, number, portrait in zip(session.clips(), range(len(ids)), partners(names), strict=True):
        if portrait >= 0:
            people = embeddings[portrait], embeddings[number]
            rows, similarities = drive_portrait(
                session, sources[portrait], driver, people, f"{ids[portrait]}-by-{ids[number]}"
            )
            scores.append(rows)
            similar.append(similarities)
            session.progress(f"{ids[portrait]} driven by {ids[number]}")
    if not scores:
        return {}
    rows, similar = columns(scores), columns(similar)
    report = {name: row_means(pairs) for name, pairs in rows.items()} | {"pairs": len(rows["made"])}
    if similar:
        report["identity"] = identity_report(session.networks.clips, similar)
        nearer = [a > b for a, b in zip(similar["made"], similar["made_to_driver"], strict=True)]
        report |= with_interval("nearer_to_portrait", nearer, lambda chosen: mean(np.concatenate(chosen)))
    return {"cross": report}


def partners(people: Sequence[str]) -> list[int]:
    """For every clip (the name of its person) the number of the next clip of another person; -1 if there is none."""
    chosen = []
    for number, name in enumerate(people):
        order = [*range(number + 1, len(people)), *range(number)]
        chosen.append(next((other for other in order if people[other] != name), -1))
    return chosen


def mean_embedding(session: Session, clip: EvalClip) -> np.ndarray | None:
    """The person of a clip: the mean embedding of FRAMES true frames, of unit length [D]; None without a verifier."""
    if session.networks.verifier is None:
        return None
    _, frames, landmarks = clip.spread(FRAMES)
    embedding = session.networks.verifier(frames, landmarks).mean(0)
    return embedding / np.linalg.norm(embedding)


def drive_portrait(
    session: Session, source: Source, driver: EvalClip, people: tuple, pair: str
) -> tuple[dict[str, dict], dict[str, np.ndarray]]:
    """A portrait driven by a clip: errors per row (docs/evaluation.md), and similarities [T] to the portrait's person
    and to the driver, whose mean embeddings are `people`.
    """
    model, codes = session.model, session.codes[driver.row["id"]]
    picks = np.arange(0, len(codes), session.arguments.stride)
    asked = source.motion + codes[picks] - codes[0]
    targets = model.posed(source.landmarks, source.motion, asked)
    generated = model.render(source, asked)
    session.sheet(f"cross-{pair}", [driver.frames[picks], generated])
    rows, similar = {}, {}
    outputs = {"made": (generated, slice(None)), "warp": (untrained_warp(source, targets[::3]), slice(None, None, 3))}
    for name, (frames, some) in outputs.items():
        points, wanted, motion = model.landmarks(frames), targets[some], asked[some]
        expression_spread = max(motion[:, POSE_SIZE:].std(0).mean(), 1e-6)
        expression_error = np.abs(model.looks(frames)["motion"] - motion)[:, POSE_SIZE:]
        pose_error = np.rad2deg(model.poses(points) - model.poses(wanted))[:, :3]
        rows[name] = {
            "pose_error_degrees": mean(np.abs(pose_error)),
            "expression_error": mean(expression_error) / float(expression_spread),
            "landmark": mean(landmark_distance(points, wanted)),
            "lip_correlation": pearson(lip_opening(points), lip_opening(driver.landmarks[picks[some]])),
        }
        if session.networks.verifier is not None:
            embeddings = session.networks.verifier(frames, points)
            similar[name], similar[f"{name}_to_driver"] = (embeddings @ person for person in people)
    return rows, similar
