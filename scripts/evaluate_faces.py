"""The shipped face network on made scenes of people that it never saw: precision, landmarks, time, size.

    python -m scripts.evaluate_faces --cache runs/cache [--scenes 128] [--hard 60] [--threads 2] [--json FILE]
    python -m scripts.evaluate_faces --compare RUN [RUN ...] [--table docs/face-networks.md]

AP over overlaps of 0.5 to 0.95 (COCO's AP50:95) of the detector alone at the size it works at; landmark error over the
distance of the outer eye corners on val stills; milliseconds of the whole search of a picture of 640 pixels.
--compare: the detectors of these runs of scripts.train_face_network beside the shipped one, one line of a table each.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from torch import nn

from anitalker.config import DetectorConfig, InputError, from_dict
from anitalker.faces.detection import FaceFinder
from anitalker.faces.face_network import fold_norms
from anitalker.models import loading
from anitalker.weights import registry
from scripts.evaluation.hard_faces import hard_faces
from scripts.export import slim
from scripts.training import face_architectures
from scripts.training.data import FrameCache
from scripts.training.face_scores import average_precision, claim, coco_precisions, errors
from scripts.training.loop import load_module, seed_all
from scripts.training.scenes import make_scenes

OVERLAPS = tuple(round(0.5 + 0.05 * n, 2) for n in range(10))
AT_ONCE = 16
LEAST = 0.05  # score of what counts for the precision; the rest is hardly ever right
COLUMNS = ("detector", "steps", "AP50", "AP50:95", "million parameters", "MB", "processor ms", "clock ms, 2 threads")
BEGIN, END = "<!-- made by scripts.evaluate_faces -->", "<!-- until here -->"


@torch.inference_mode()
def precisions(detect, cache: FrameCache, scenes: int, size: int) -> dict:
    """AP at each of OVERLAPS, and COCO's (torchmetrics) where that is installed; detect: pictures [B,3,S,S] in [-1,1]
    -> list of Detections, surest first."""
    seed_all(0)
    stills = np.flatnonzero(cache.clip < 0)
    hits, scores, pairs = {least: [] for least in OVERLAPS}, [], []
    for _ in range(max(scenes // AT_ONCE, 1)):
        chosen = np.sort(np.random.choice(stills, 3 * AT_ONCE))
        frames, landmarks = torch.from_numpy(cache.frames[chosen]), torch.from_numpy(cache.landmarks[chosen])
        pictures, boxes, _, valid = make_scenes(frames, landmarks, AT_ONCE, size)
        state = torch.get_rng_state()  # the scenes are the same, whatever a detector draws
        for found, box, real in zip(detect(pictures), boxes, valid, strict=True):
            scores += found.scores.tolist()
            pairs.append((found, box[real]))
            for least in OVERLAPS:
                hits[least] += claim(found.boxes, box[real], least)
        torch.set_rng_state(state)
    faces = sum(len(truth) for _, truth in pairs)
    each = {least: average_precision(np.array(h, bool), np.array(scores), faces) for least, h in hits.items()}
    own = {"faces": faces, "ap50": each[0.5], "ap75": each[0.75], "ap50_95": float(np.mean(list(each.values())))}
    return own | coco_precisions(pairs)


def landmarks(finder: FaceFinder, cache: FrameCache, count: int) -> dict:
    """Errors in percent on stills [256,256], and how many had no face."""
    numbers = np.flatnonzero(cache.clip < 0)[:count]
    found = [(cache.landmarks[n] * 256, finder.find(np.array(cache.frames[n]))) for n in numbers]
    pairs = [(truth, faces[0].landmarks) for truth, faces in found if faces]
    return {"pictures": len(found), "found": len(pairs), **errors(*map(np.stack, zip(*pairs, strict=True)))}


def picture(cache: FrameCache) -> np.ndarray:
    """640x640 pixels with one face: a still, its border repeated."""
    still = np.array(cache.frames[np.flatnonzero(cache.clip < 0)[0]])
    return np.pad(still, ((192, 192), (192, 192), (0, 0)), "edge")


def milliseconds(work: Callable[[], object], repeats: int = 15) -> dict[str, float]:
    """Medians of processor time (all threads together) and of the clock, in ms, after three warming calls."""
    times = []
    for _ in range(repeats + 3):
        clock, processor = time.perf_counter(), time.process_time()
        work()
        times.append((time.process_time() - processor, time.perf_counter() - clock))
    middle = 1000 * np.median(times[3:], axis=0)
    return {"processor": float(middle[0]), "clock": float(middle[1])}


def trained(run: str) -> tuple[str, int, nn.Module]:
    """A run folder of `train_face_network --part detector` -> its name and steps, and the detector."""
    path = Path(run) / "weights.safetensors"
    if not path.is_file():
        raise InputError(f"no {path}; --compare takes run folders of scripts.train_face_network --part detector")
    config, _ = loading.read(path)
    name = "detector" if "detector" in config else "compared"
    if name not in config:
        raise InputError(f"{path} has no detector; --compare takes runs of --part detector")
    network = face_architectures.build(config.get("arch", "own"), from_dict(DetectorConfig, config[name]))
    load_module(network, run, name)
    return config.get("arch", "own"), int(config["steps"]), network


def row(name: str, steps: int | None, network: nn.Module, cache: FrameCache, scenes: int) -> dict:
    """One detector's scores, size and speed: from the picture to boxes, norms folded, without landmarks."""
    size = network.config.long_side
    quick = fold_norms(network)  # as the shipped one is used
    facts = {"detector": name, "steps": steps}
    facts |= precisions(lambda pictures: quick.detect(pictures, LEAST), cache, scenes, size)
    state = {key: slim(key, tensor) for key, tensor in network.state_dict().items()}
    facts |= {"parameters": sum(p.numel() for p in network.parameters()), "megabytes": len(save(state)) / 1e6}
    finder, pixels = FaceFinder(Alone(quick)), picture(cache)
    return facts | {"milliseconds": speeds(lambda: finder._detect(pixels, size))}


class Alone:
    """A detector without landmarks, as `FaceFinder` takes a network."""

    def __init__(self, detector: nn.Module) -> None:
        self.detector = detector

    def folded(self) -> Alone:
        return self

    def to(self, device: torch.device) -> Alone:
        return self


def speeds(work: Callable[[], object]) -> dict[str, float | None]:
    """Processor time on one thread and the clock on two, in ms; no clock (None) where more wants to run than there are
    processors: it would measure the others."""
    before, busy = torch.get_num_threads(), os.getloadavg()[0] > (os.cpu_count() or 1)
    try:
        torch.set_num_threads(1)
        processor = milliseconds(work)["processor"]
        torch.set_num_threads(2)
        return {"processor": processor, "clock": None if busy else milliseconds(work)["clock"]}
    finally:
        torch.set_num_threads(before)


def line(facts: dict) -> str:
    """A row of the table."""
    missing = [name for name in ("coco_ap50", "coco_ap50_95") if name not in facts]
    if missing:
        raise InputError('the table needs torchmetrics and pycocotools; pip install -e ".[train]"')
    spent = facts["milliseconds"]
    clock = "busy" if spent["clock"] is None else f"{spent['clock']:.1f}"
    cells = [facts["detector"], str(facts["steps"] or "shipped")]
    cells += [f"{facts['coco_ap50']:.3f}", f"{facts['coco_ap50_95']:.3f}", f"{facts['parameters'] / 1e6:.2f}"]
    cells += [f"{facts['megabytes']:.2f}", f"{spent['processor']:.1f}", clock]
    return f"| {' | '.join(cells)} |"


def table(rows: list[dict], scenes: int) -> str:
    """The rows under their headings, and what they were measured on."""
    said = f"{scenes} scenes of val stills with {rows[0]['faces']} faces; load of the machine {os.getloadavg()[0]:.1f}."
    head = [f"| {' | '.join(COLUMNS)} |", f"| {' | '.join(['---'] * len(COLUMNS))} |"]
    return "\n".join([*head, *(line(facts) for facts in rows), "", said])


def put(text: str, file: Path) -> None:
    """Between the two marks of a Markdown file, in place of what stands there; InputError if it has no marks."""
    before = file.read_text(encoding="utf-8") if file.is_file() else ""
    if before.count(BEGIN) != 1 or before.count(END) != 1:
        raise InputError(
            f"{file} does not have the lines {BEGIN!r} and {END!r} once each; add them where it shall stand"
        )
    head, rest = before.split(BEGIN)
    file.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def compare(options: argparse.Namespace, cache: FrameCache) -> list[dict]:
    """The shipped detector and those of the runs, as rows; into --table if that is given."""
    detectors = [("own", None, loading.load_face().detector), *map(trained, options.compare)]
    rows = [row(name, steps, one.eval(), cache, options.scenes) for name, steps, one in detectors]
    text = table(rows, options.scenes)
    print(text)
    if options.table:
        put(text, Path(options.table))
    return rows


def shipped(options: argparse.Namespace, cache: FrameCache) -> dict:
    """The scores of the shipped network: detector, landmarks, the whole search."""
    network = loading.load_face()
    finder, size, pixels = FaceFinder(network), network.detector.config.long_side, picture(cache)
    facts = precisions(lambda pictures: network.detector.detect(pictures, LEAST), cache, options.scenes, size)
    facts |= {"landmarks": landmarks(finder, cache, options.stills)}
    numbers = np.flatnonzero(cache.clip < 0)[: options.hard]
    if len(numbers):
        stills = [(Image.fromarray(np.array(cache.frames[n])), cache.landmarks[n] * 256) for n in numbers]
        facts |= {"hard": hard_faces(finder, stills)}
    facts |= {"milliseconds": milliseconds(lambda: finder.find(pixels)), "threads": torch.get_num_threads()}
    facts |= {"megabytes": registry.resolve("face")[0].stat().st_size / 1e6, "load": os.getloadavg()[0]}
    print(json.dumps(facts, indent=1))
    return facts


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", default="runs/cache", help="made by scripts.training.data")
    parser.add_argument("--scenes", type=int, default=128)
    parser.add_argument("--stills", type=int, default=100)
    parser.add_argument("--hard", type=int, default=0, metavar="N", help="also N stills turned, small, covered ...")
    parser.add_argument("--threads", type=int, default=1, help="of the search that is timed")
    parser.add_argument("--compare", nargs="+", metavar="RUN", help="detectors beside the shipped one")
    parser.add_argument("--table", metavar="FILE", help="Markdown file that takes the table of --compare")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    facts = (compare if options.compare else shipped)(options, FrameCache(options.cache, "val"))
    if options.json:
        Path(options.json).write_text(json.dumps(facts))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
