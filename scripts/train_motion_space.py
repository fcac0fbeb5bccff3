"""Stage one. `lite-256`: the encoder reads codes from pixels (`--stage codes`), then the decoder draws them (`--stage
decoder`). `full-256`: the original's architecture, from pixels (one stage). Each preset's numbers can be overridden.

    python -m scripts.train_motion_space --preset lite-256 --stage codes --data DIR --out runs/codes
    python -m scripts.train_motion_space --preset lite-256 --stage decoder --data DIR --codes runs/codes --out runs/lite
    torchrun --nproc-per-node 8 -m scripts.train_motion_space --preset full-256 --data DIR --out runs/full

Kill it whenever you like: the same command continues from the last checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from anitalker.config import CROP, InputError, MotionSpaceConfig
from scripts.training.data import FrameCache, build_cache
from scripts.training.engine import Engine
from scripts.training.labels import MotionLabels, build_labels
from scripts.training.loop import seed_all
from scripts.training.presets import PRESETS, STAGES, Recipe, resolve, settings


def main(argv: list[str] | None = None) -> int:
    try:
        train(*parse(argv))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def train(arguments: argparse.Namespace, recipe: Recipe) -> None:
    """Data, labels and the stage that the recipe names."""
    torch.set_num_threads(arguments.threads)
    engine = Engine(arguments.device)
    seed_all(arguments.seed)
    path = Path(arguments.cache) / "labels.npz"
    if engine.main:
        for split in ("train", "val"):
            build_cache(arguments.data, arguments.cache, split)
        if not path.is_file():
            build_labels(arguments.data, MotionSpaceConfig().expression_size).save(path)
    engine.wait()
    labels, size = MotionLabels.load(path), getattr(recipe, "size", CROP)
    if engine.main:
        FrameCache(arguments.cache, "train", size)  # the smaller frames, if they are wanted, are made by one process
    engine.wait()
    frames, val = FrameCache(arguments.cache, "train", size), FrameCache(arguments.cache, "val", size)
    if engine.device.type == "cuda":
        held = frames.hold(engine.device)
        print(f"{frames.frames.nbytes / 1e9:.1f} GB of frames {'on the GPU' if held else 'on disk'}", flush=True)
    if recipe.stage == "codes":
        from scripts.training.codes import train_codes as stage
    elif recipe.stage == "decoder":
        from scripts.training.lite_decoder import train_decoder as stage
    else:
        from scripts.training.pixels import train_pixels as stage
    stage(engine, arguments, recipe, frames, val, labels)


def parse(argv: list[str] | None) -> tuple[argparse.Namespace, Recipe]:
    """Arguments of the run, and the preset's recipe under the flags that were given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="lite-256", help=", ".join(PRESETS) + ", or a FILE.json of scripts.export")
    parser.add_argument("--stage", choices=STAGES, help="of lite-256: codes (default), then decoder")
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--cache", default="runs/cache", help="decoded frames and labels")
    parser.add_argument("--out", required=True, help="run folder; an existing run there is continued")
    parser.add_argument("--codes", help="decoder stage: run of the codes stage, or weights; without it, label codes")
    parser.add_argument(
        "--frozen", action="store_true", help="decoder stage: leave the encoder as it is; twice as fast"
    )
    parser.add_argument("--start", help="run folder, or weights, whose networks to begin with")
    parser.add_argument("--teacher", help="decoder stage: run, or weights, whose decoder to learn from (any widths)")
    parser.add_argument(
        "--features",
        default="vgg19",
        help="network of the perceptual loss: vgg19 (fetched by torchvision), none, or a file (.npz of SqueezeNet 1.0)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    group = parser.add_argument_group("settings, each with the preset's value unless given")
    for name, one in settings().items():
        if one["type"] is bool:
            kind = {"action": argparse.BooleanOptionalAction}
        else:
            kind = {"type": one["type"], "choices": one["choices"], "metavar": None if one["choices"] else "N"}
        flag = "--" + name.replace("_", "-")
        group.add_argument(flag, dest=f"set_{name}", default=argparse.SUPPRESS, help=one["help"], **kind)
    arguments = parser.parse_args(argv)
    given = {name.removeprefix("set_"): value for name, value in vars(arguments).items() if name.startswith("set_")}
    for name in given:
        delattr(arguments, f"set_{name}")
    return arguments, resolve(arguments.preset, arguments.stage, given)


if __name__ == "__main__":
    sys.exit(main())
