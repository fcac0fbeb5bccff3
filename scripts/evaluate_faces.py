"""The shipped face network on composed scenes of people that it never saw: precision, landmarks, time, size.

    python -m scripts.evaluate_faces --cache runs/cache [--scenes 128] [--hard 60] [--sizes 14] [--threads 2]
                                     [--json FILE]
    python -m scripts.evaluate_faces --compare RUN [RUN ...] [--table FILE.md]

AP over overlaps of 0.5 to 0.95 (COCO's AP50:95) of the detector alone at the size it works at; landmark error over the
distance of the outer eye corners on val stills; milliseconds of the whole search of a picture of 640 pixels. --sizes:
AP50 of the whole search by the size of the face, in crowded scenes of 1280 pixels.
--compare: the detectors of these runs of scripts.train_face_network beside the shipped one, one line of a table each.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from torch import nn

from anitalker.config import InputError
from anitalker.faces.detection import FaceFinder
from anitalker.faces.face_network import Detector, fold_norms
from anitalker.models import loading
from anitalker.network_config import DetectorConfig, from_dict
from anitalker.weights import registry
from scripts.benchmarks.report import by_turns
from scripts.evaluation.face_sizes import size_report
from scripts.evaluation.hard_faces import hard_faces
from scripts.export import slim
from scripts.markdown import table as markdown_table
from scripts.training import face_scores
from scripts.training.data import FrameCache
from scripts.training.loop import load_module

OVERLAPS = tuple(round(0.5 + 0.05 * n, 2) for n in range(10))
BEGIN, END = "<!-- made by scripts.evaluate_faces -->", "<!-- until here -->"
COLUMNS = ("detector", "steps", "AP50", "AP50:95", "million parameters", "MB", "processor ms", "clock ms, 2 threads")


def precisions(detector: nn.Module, cache: FrameCache, scenes: int) -> dict:
    """AP at OVERLAPS, and COCO's (torchmetrics) where that is installed."""
    answers = face_scores.detect_in_scenes(
        lambda x: detector.detect(x, face_scores.LEAST), cache, scenes, detector.config.long_side
    )
    ap = {least: face_scores.average_precision(*face_scores.hits_and_scores(answers, least)) for least in OVERLAPS}
    faces = sum(len(boxes) for _, boxes in answers)
    values = {"faces": faces, "ap50": ap[0.5], "ap75": ap[0.75], "ap50_95": float(np.mean(list(ap.values())))}
    return values | face_scores.coco_precisions(answers)


def padded_still(cache: FrameCache) -> np.ndarray:
    """640x640 pixels with one face: a still, its border repeated."""
    still = np.array(cache.frames[np.flatnonzero(cache.clip < 0)[0]])
    return np.pad(still, ((192, 192), (192, 192), (0, 0)), "edge")


def milliseconds(work: Callable[[], object], threads: int, repeats: int = 15) -> dict[str, float]:
    """Medians of processor time (all threads together) and of the clock, in ms, after three warming calls."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    times, _ = by_turns({"work": work}, repeats + 3)
    torch.set_num_threads(before)
    clock, processor = 1000 * np.median(times["work"][3:], axis=0)
    return {"processor": float(processor), "clock": float(clock)}


def trained(run: str) -> tuple[str, int, nn.Module]:
    """A run folder of `train_face_network --part detector` -> its name and steps, and the detector."""
    path = Path(run) / "weights.safetensors"
    config = loading.read(path)[0] if path.is_file() else {}
    if "detector" not in config:
        raise InputError(f"no detector in {path}; --compare takes run folders of train_face_network --part detector")
    network = Detector(from_dict(DetectorConfig, config["detector"]))
    load_module(network, run, "detector")
    return "own", int(config["steps"]), network


def row(name: str, steps: int | None, network: nn.Module, cache: FrameCache, scenes: int) -> dict:
    """One detector's scores, size and speed: from the picture to boxes, norms folded, without landmarks."""
    folded = fold_norms(network)  # as the shipped one is used
    facts = {"detector": name, "steps": steps, **precisions(folded, cache, scenes)}
    state = {key: slim(key, tensor) for key, tensor in network.state_dict().items()}
    facts |= {"parameters": sum(p.numel() for p in network.parameters()), "megabytes": len(save(state)) / 1e6}
    alone = SimpleNamespace(detector=folded)  # what `FaceFinder` asks of a network, without landmarks
    alone.folded = alone.to = lambda *device: alone
    finder, pixels = FaceFinder(alone), padded_still(cache)
    times = [milliseconds(lambda: finder._detect(pixels, network.config.long_side), threads) for threads in (1, 2)]
    return facts | {"milliseconds": {"processor": times[0]["processor"], "clock": times[1]["clock"]}}


def table(rows: list[dict], scenes: int) -> str:
    """The rows as a Markdown table under their headings, and what they were measured on."""
    lines = []
    for facts in rows:
        if "coco_ap50" not in facts:
            raise InputError('the table needs torchmetrics and pycocotools; pip install -e ".[train]"')
        cells = [f"{facts['coco_ap50']:.3f}", f"{facts['coco_ap50_95']:.3f}", f"{facts['parameters'] / 1e6:.2f}"]
        cells += [f"{facts['megabytes']:.2f}", *(f"{value:.1f}" for value in facts["milliseconds"].values())]
        lines.append([facts["detector"], facts["steps"] or "shipped", *cells])
    load = f"load of the machine {os.getloadavg()[0]:.1f}."
    return f"{markdown_table(COLUMNS, lines)}\n\n{scenes} scenes of val stills with {rows[0]['faces']} faces; {load}"


def insert(text: str, file: Path) -> None:
    """Replace what stands between BEGIN and END in a Markdown file; InputError if it does not have both once."""
    before = file.read_text(encoding="utf-8") if file.is_file() else ""
    after, count = re.subn(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{text}\n{END}", before, flags=re.DOTALL)
    if count != 1 or before.count(BEGIN) != 1 or before.count(END) != 1:
        raise InputError(f"{file} must have the lines {BEGIN!r} and {END!r} once each, around the place of the table")
    file.write_text(after, encoding="utf-8")


def compare(options: argparse.Namespace, cache: FrameCache) -> list[dict]:
    """The shipped detector and those of the runs, as rows; their table also goes into --table."""
    detectors = [("own", None, loading.load_face().detector), *map(trained, options.compare)]
    rows = [row(name, steps, detector.eval(), cache, options.scenes) for name, steps, detector in detectors]
    text = table(rows, options.scenes)
    print(text)
    if options.table:
        insert(text, Path(options.table))
    return rows


def shipped(options: argparse.Namespace, cache: FrameCache) -> dict:
    """The scores of the shipped network: detector, landmarks, the whole search."""
    network = loading.load_face()
    finder, pixels, stills = FaceFinder(network), padded_still(cache), np.flatnonzero(cache.clip < 0)
    pictures = [
        (np.array(cache.frames[n]), cache.landmarks[n] * 256) for n in stills[: max(options.stills, options.hard)]
    ]
    facts = precisions(network.detector, cache, options.scenes)
    if options.sizes:
        facts["sizes"] = size_report(finder, cache, options.sizes)
    facts["landmarks"] = face_scores.still_errors(
        [(truth, finder.find(still)) for still, truth in pictures[: options.stills]]
    )
    if options.hard:
        facts["hard"] = hard_faces(finder, [(Image.fromarray(s), truth) for s, truth in pictures[: options.hard]])
    facts["milliseconds"] = milliseconds(lambda: finder.find(pixels), options.threads)
    facts |= {"threads": options.threads, "load": os.getloadavg()[0]}
    facts["megabytes"] = registry.resolve("face")[0].stat().st_size / 1e6
    print(json.dumps(facts, indent=1))
    return facts


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", default="runs/cache", help="made by scripts.training.data")
    parser.add_argument("--scenes", type=int, default=128)
    parser.add_argument("--stills", type=int, default=100)
    parser.add_argument("--hard", type=int, default=0, metavar="N", help="also N stills turned, small, covered ...")
    parser.add_argument("--sizes", type=int, default=0, metavar="N", help="also N large scenes of faces of every size")
    parser.add_argument("--threads", type=int, default=1, help="of the search that is timed")
    parser.add_argument("--compare", nargs="+", metavar="RUN", help="detectors beside the shipped one")
    parser.add_argument("--table", metavar="FILE", help="Markdown file that takes the table of --compare")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        facts = (compare if options.compare else shipped)(options, FrameCache(options.cache, "val"))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        Path(options.json).write_text(json.dumps(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
