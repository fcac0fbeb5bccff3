"""Average precision of the whole face search by the size of the faces, and its false alarms, on composed scenes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from anitalker.faces.detection import FaceFinder
from anitalker.faces.face_network import Detections
from encoders.image import to_tensor as to_pictures
from scripts.training.data import FrameCache
from scripts.training.face_scores import Scenes, average_precision, claim
from scripts.training.loop import seed_all
from scripts.training.scenes import (
    SHUFFLED_BOX,
    apart,
    beside_face,
    face_alone,
    paste,
    place_points,
    random_roll,
    shuffle_tiles,
    texture,
    to_image,
)

SIZES = (24, 40, 64, 96, 160, 401)  # pixels of the box's longer side
SCENE = 1280  # pixels: side of a scene
FACES, FAKES = 14, 4  # of a scene; a fake is a face cut into shuffled tiles
TRIES = 30  # places that are tried for each


def size_report(finder: FaceFinder, cache: FrameCache, scenes: int) -> dict:
    """Crowded scenes of SCENE x SCENE pixels -> AP50 and number of faces per size, false alarms in each picture."""
    seed_all(0)
    rng, stills, answers = np.random.default_rng(0), np.flatnonzero(cache.clip < 0), []
    for _ in range(scenes):
        chosen = np.sort(rng.choice(stills, 2 * FACES))
        picture, boxes = crowd(cache.frames[chosen], cache.landmarks[chosen], rng)
        answers.append((search(finder, picture), boxes))
    alarms = sum(claim(seen.boxes, boxes).count(False) for seen, boxes in answers)
    report: dict = {"false_alarms": alarms / len(answers)}
    for low, high in pairwise(SIZES):
        precision, faces = precision_of_size(answers, low, high)
        report[f"{low}-{high - 1}"] = {"faces": faces, "ap50": precision}
    return report


def crowd(frames: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, Tensor]:
    """A scene uint8 [SCENE,SCENE,3] with FACES of these faces, uint8 [S,256,256,3], of all SIZES, and their boxes."""
    points = torch.from_numpy(landmarks)
    ground = texture(to_pictures(torch.from_numpy(frames)), beside_face(points), 1, SCENE)[0]
    scene, taken, boxes = to_image(ground), [], []
    sides = np.exp(rng.uniform(np.log(SIZES[0]), np.log(SIZES[-1]), FACES + FAKES))
    for number in np.argsort(-sides):
        which, side, is_face = rng.integers(len(frames)), sides[number], number < FACES
        still, marks = frames[which], landmarks[which, :, :2]
        if not is_face:
            still, marks = face_alone(shuffle_tiles(still, marks, rng), marks), SHUFFLED_BOX
        for _ in range(TRIES):
            centre, roll = rng.uniform(0.7 * side, SCENE - 0.7 * side, 2), random_roll(rng)
            place = place_points(marks, centre, side, roll)
            if all(apart(place, other) for other in taken):
                paste(scene, still, marks, centre, side, roll)
                taken.append(place)
                boxes += [np.concatenate([place.min(0), place.max(0)])] if is_face else []
                break
    return np.asarray(scene), torch.tensor(np.array(boxes), dtype=torch.float32)


def search(finder: FaceFinder, picture: np.ndarray) -> Detections:
    """The faces that `FaceFinder.find` gives for a picture, uint8 [H,W,3], best first."""
    faces = sorted(finder.find(picture), key=lambda face: -face.score)
    boxes = torch.tensor([face.box for face in faces]).reshape(-1, 4)
    return Detections(boxes, torch.tensor([face.score for face in faces]), boxes.new_zeros(len(faces), 0, 2))


def precision_of_size(answers: Scenes, low: float, high: float) -> tuple[float, int]:
    """AP50 over the true faces of `low` to `high` pixels, and their number; a hit on another face does not count."""
    hits, scores, faces = [], [], 0
    for seen, truth in answers:
        chosen = within(truth, low, high)
        faces += int(chosen.sum())
        others = claim(seen.boxes, truth[~chosen])
        for hit, other, fits, score in zip(
            claim(seen.boxes, truth[chosen]), others, within(seen.boxes, low, high), seen.scores.tolist(), strict=True
        ):
            if hit or (fits and not other):
                hits.append(hit)
                scores.append(score)
    return (average_precision(np.array(hits, bool), np.array(scores), faces) if faces else 0.0), faces


def within(boxes: Tensor, low: float, high: float) -> Tensor:
    """Bool [F]: the longer side of boxes [F,4] is at least `low` and below `high`."""
    side = (boxes[:, 2:] - boxes[:, :2]).amax(-1) if len(boxes) else boxes.new_zeros(0)
    return (side >= low) & (side < high)
