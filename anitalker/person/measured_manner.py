"""How a person moves, measured against what the generator makes of the same speech.

Letters: T frames at 25 per second, M = 20 motion numbers.

lips    = spread of the filmed lip opening / spread of the rendered one, both by the face network, on the same speech
rest    = mean filmed expression - mean generated expression while speech lasts
head    = spread of filmed head angles about their mean of HEAD_SECONDS / the same of generated ones
blinks  = filmed seconds / number of blinks
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from anitalker.config import CROP, FPS, POSE_SIZE, RenderOptions
from anitalker.faces.detection import FaceFinder
from anitalker.faces.landmarks import lip_opening
from anitalker.models.base import ProgressCallback
from anitalker.models.lite import Lite, LiteFace
from anitalker.motion.manner import USUAL, Manner
from anitalker.person.lip_tuning import Spoken
from anitalker.person.takes import Take, openings

HEAD_SECONDS = 4.0
RENDERED = 100  # frames that are drawn to measure what the decoder leaves of an opening
ROUNDS = 2  # of measuring the lips: the second with the first one's factor
CLOSED_SHARE = 0.6  # of the usual eye opening, below which eyes are shut
BLINK_FRAMES = (1, 12)  # of a blink, at 25 per second: longer ones are a look down
LEAST_BLINKS = 3
LEAST_SPREAD = 1e-4


def measure_manner(
    model: Lite,
    finder: FaceFinder,
    face: LiteFace,
    takes: Sequence[Take],
    spoken: Sequence[Spoken],
    progress: ProgressCallback | None = None,
) -> Manner:
    """The manner of a person whose portrait, prepared with its traits, is `face`."""
    manner = Manner(blink_seconds=blink_seconds(takes))
    if not spoken:
        return manner.limited()
    plain = replace(face, manner=USUAL)
    generated = [generate(model, plain, said) for said in spoken]
    filmed = [torch.from_numpy(said.motion) for said in spoken]
    free = [said.free for said in spoken]
    rest = torch.cat([m[f] for m, f in zip(filmed, free, strict=True)]).mean(0)
    rest = rest - torch.cat([m[f] for m, f in zip(generated, free, strict=True)]).mean(0)
    rest[:POSE_SIZE] = 0
    heads = [
        np.concatenate([_head(m.numpy(), f) for m, f in zip(motions, free, strict=True)]).std()
        for motions in (filmed, generated)
    ]
    manner = replace(manner, rest=rest, head=float(heads[0] / max(heads[1], LEAST_SPREAD)))
    return fit_lips(model, finder, replace(face, manner=manner.limited()), spoken, progress=progress)


def fit_lips(
    model: Lite,
    finder: FaceFinder,
    face: LiteFace,
    spoken: Sequence[Spoken],
    rounds: int = ROUNDS,
    progress: ProgressCallback | None = None,
) -> Manner:
    """The manner of a face, with the factor on its lips at which drawn openings spread as far as the filmed ones."""
    truth = np.concatenate([said.opening[said.free] for said in spoken])
    manner = face.manner
    for _ in range(rounds):
        drawn = rendered_openings(model, finder, replace(face, manner=manner), spoken, progress)
        manner = replace(manner, lips=manner.lips * float(truth.std() / max(drawn.std(), LEAST_SPREAD))).limited()
    return manner


def generate(model: Lite, face: LiteFace, said: Spoken) -> torch.Tensor:
    """What the generator makes of a take's speech: motion [T,M] on the CPU."""
    motion = model.generate_motion(said.features[None], face, RenderOptions(gaze="portrait"))
    return motion.cpu()


def rendered_openings(
    model: Lite,
    finder: FaceFinder,
    face: LiteFace,
    spoken: Sequence[Spoken],
    progress: ProgressCallback | None = None,
) -> np.ndarray:
    """Lip openings in frames that are drawn from speech: [about RENDERED]."""
    total = sum(len(said.free) for said in spoken)
    chosen = [np.flatnonzero(said.free)[:: max(1, total // RENDERED)] for said in spoken]
    count, found = sum(map(len, chosen)), []

    def told(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        done = sum(map(len, found))
        for number, frame in enumerate(frames, done + 1):
            yield frame
            if progress:
                progress("speech", number, count)

    for said, numbers in zip(spoken, chosen, strict=True):
        if not len(numbers):
            continue
        motion = model.generate_motion(said.features[None], face, RenderOptions(gaze="portrait"))[numbers]
        frames = np.stack(list(told(model.render_frames(face, motion))))
        points = model.space.move(face.resting, motion).cpu().numpy() * CROP
        found.append(lip_opening(finder.refine(frames, points, passes=2)))
    return np.concatenate(found)


def _head(motion: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Head angles of motion [T,M] less their mean over HEAD_SECONDS about each frame: [k,3] of the free frames."""
    width = round(HEAD_SECONDS * FPS)
    kernel = np.ones(width)
    weight = np.convolve(free, kernel, "same").clip(1)
    angles = motion[:, :3] * free[:, None]
    means = np.stack([np.convolve(column, kernel, "same") for column in angles.T], 1) / weight[:, None]
    return (motion[:, :3] - means)[free]


def blink_seconds(takes: Sequence[Take]) -> float | None:
    """Mean time between two blinks; None where fewer than LEAST_BLINKS are seen."""
    count, seconds = 0, 0.0
    for take in takes:
        eyes = take.at_speech(openings(take)[1])
        seen = np.isfinite(eyes)
        if not seen.any():
            continue
        shut = np.where(seen, eyes, np.inf) < CLOSED_SHARE * np.median(eyes[seen])
        edges = np.diff(np.concatenate([[0], shut.astype(int), [0]]))
        lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
        count += int(((lengths >= BLINK_FRAMES[0]) & (lengths <= BLINK_FRAMES[1])).sum())
        seconds += seen.sum() / FPS
    return None if count < LEAST_BLINKS else seconds / count
