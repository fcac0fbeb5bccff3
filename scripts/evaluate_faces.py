"""The shipped face network on made scenes of people that it never saw: precision, landmarks, time, size.

    python -m scripts.evaluate_faces --cache runs/cache [--scenes 128] [--json FILE]

AP over overlaps of 0.5 to 0.95 (COCO's AP50:95) of the detector alone at the size it works at; landmark error over the
distance of the outer eye corners on val stills; milliseconds of the whole search of a picture of 640 pixels.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from anitalker import registry, weights
from anitalker.face import FaceFinder
from scripts.training.data import FrameCache
from scripts.training.face_scores import average_precision, claim, errors
from scripts.training.loop import seed_all
from scripts.training.scenes import make_scenes

OVERLAPS = tuple(round(0.5 + 0.05 * n, 2) for n in range(10))
AT_ONCE = 16


@torch.inference_mode()
def precisions(detect, cache: FrameCache, scenes: int, size: int) -> dict:
    """AP at each of OVERLAPS; detect: pictures [B,3,S,S] in [-1,1] -> list of Detections, surest first."""
    seed_all(0)
    stills = np.flatnonzero(cache.clip < 0)
    hits, scores, faces = {least: [] for least in OVERLAPS}, [], 0
    for _ in range(max(scenes // AT_ONCE, 1)):
        chosen = np.sort(np.random.choice(stills, 3 * AT_ONCE))
        frames, landmarks = torch.from_numpy(cache.frames[chosen]), torch.from_numpy(cache.landmarks[chosen])
        pictures, boxes, _, valid = make_scenes(frames, landmarks, AT_ONCE, size)
        faces += int(valid.sum())
        for found, box, real in zip(detect(pictures), boxes, valid, strict=True):
            scores += found.scores.tolist()
            for least in OVERLAPS:
                hits[least] += claim(found.boxes, box[real], least)
    each = {least: average_precision(np.array(h, bool), np.array(scores), faces) for least, h in hits.items()}
    return {"faces": faces, "ap50": each[0.5], "ap75": each[0.75], "ap50_95": float(np.mean(list(each.values())))}


def landmarks(finder: FaceFinder, cache: FrameCache, count: int) -> dict:
    """Errors in percent on stills [256,256], and how many had no face."""
    numbers = np.flatnonzero(cache.clip < 0)[:count]
    found = [(cache.landmarks[n] * 256, finder.find(np.array(cache.frames[n]))) for n in numbers]
    pairs = [(truth, faces[0].landmarks) for truth, faces in found if faces]
    return {"pictures": len(found), "found": len(pairs), **errors(*map(np.stack, zip(*pairs, strict=True)))}


def milliseconds(finder: FaceFinder, cache: FrameCache, repeats: int = 10) -> float:
    """Median time of `find` for a picture of 640x640 with one face, landmarks included."""
    picture = np.array(cache.frames[np.flatnonzero(cache.clip < 0)[0]])
    picture = np.pad(picture, ((192, 192), (192, 192), (0, 0)), "edge")
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        finder.find(picture)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Scores of the shipped face network on people it never saw.")
    parser.add_argument("--cache", default="runs/cache", help="made by scripts.training.data")
    parser.add_argument("--scenes", type=int, default=128)
    parser.add_argument("--stills", type=int, default=100)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    network, cache = weights.load_face(), FrameCache(options.cache, "val")
    finder, size = FaceFinder(network), network.detector.config.long_side
    facts = precisions(lambda pictures: network.detector.detect(pictures, 0.05), cache, options.scenes, size)
    facts |= {"landmarks": landmarks(finder, cache, options.stills), "milliseconds": milliseconds(finder, cache)}
    facts["megabytes"] = registry.find("face")[0].stat().st_size / 1e6
    print(json.dumps(facts, indent=1))
    if options.json:
        Path(options.json).write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
