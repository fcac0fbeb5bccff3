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
from collections.abc import Sequence

from anitalker.config import CROP
from scripts.training.codes import train_codes
from scripts.training.data import FrameCache
from scripts.training.engine import Engine, start
from scripts.training.labels import MotionLabels, prepare_labels
from scripts.training.lite_decoder import train_decoder
from scripts.training.pixels import train_pixels
from scripts.training.presets import OLD_NAMES, PRESETS, SETTINGS, STAGES, StageOneRecipe, resolve
from scripts.training.recipe import add_old_names, command, given_settings, training_parser

TRAININGS = {"codes": train_codes, "decoder": train_decoder, "pixels": train_pixels}


@command
def main(argv: Sequence[str] | None = None) -> None:
    options, recipe = parse(argv)
    engine = start(options)
    labels, train, val = load_data(options, engine, getattr(recipe, "size", CROP))
    TRAININGS[recipe.stage](engine, options, recipe, train, val, labels)


def load_data(options: argparse.Namespace, engine: Engine, size: int) -> tuple[MotionLabels, FrameCache, FrameCache]:
    """Labels and the frames of both splits at this size; what is not there yet is made by one process."""
    if engine.main:
        prepare_labels(options.data, options.cache)
    engine.wait()
    labels = prepare_labels(options.data, options.cache)
    train, val = FrameCache(options.cache, "train", size), FrameCache(options.cache, "val", size)
    if engine.device.type == "cuda":
        held = train.hold(engine.device)
        print(f"{train.frames.nbytes / 1e9:.1f} GB of frames {'on the GPU' if held else 'on disk'}", flush=True)
    return labels, train, val


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, StageOneRecipe]:
    """Options of the run, and the preset's recipe under the flags that were given."""
    parser = training_parser(__doc__, SETTINGS.values(), out=None, threads=2)
    parser.add_argument("--preset", default="lite-256", help=", ".join(PRESETS) + ", or a FILE.json of scripts.export")
    parser.add_argument("--stage", choices=STAGES, help="of lite-256: codes (default), then decoder")
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--cache", default="runs/cache", help="decoded frames and labels")
    parser.add_argument("--codes", help="decoder stage: run of the codes stage, or weights")
    parser.add_argument("--frozen", action="store_true", help="decoder stage: leave the encoder as it is")
    teacher = "decoder stage: model whose decoder this one shall draw like; needs no perceptual network"
    parser.add_argument("--teacher", metavar="MODEL", help=teacher)
    network = "of the perceptual loss: vgg19 (fetched by torchvision), none, or a file (.npz of SqueezeNet 1.0)"
    parser.add_argument("--perceptual-network", default="vgg19", help=network)
    add_old_names(parser, {"features": "perceptual_network"})
    add_old_names(parser, OLD_NAMES, type=float)
    options = parser.parse_args(argv)
    return options, resolve(options.preset, options.stage, given_settings(options, SETTINGS))


if __name__ == "__main__":
    sys.exit(main())
