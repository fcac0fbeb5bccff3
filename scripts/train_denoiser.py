"""Train stage two of the original's family: its conformer estimates the noise in motion codes from speech (MFCC).

Letters: B windows, n frames each, T frames of a clip, M motion numbers, A numbers of an appearance code.

    python -m scripts.extract_features --data DIR --labels runs/cache/labels.npz --stage1 stage1.safetensors
    python -m scripts.train_denoiser --features-dir runs/features --out runs/denoiser
    python -m scripts.export runs/denoiser --kind stage2 -o FILE.safetensors
    anitalker render face.jpg speech.wav -o out.mp4 --model original --stage1 stage1.safetensors --stage2 FILE

Losses (Liu et al., "AniTalker", 2024, section 3.3): the error of the estimated noise (Ho et al. 2020, eq. 14), that of
its change from frame to frame, and, for the variance adapter, that of the control signals predicted from speech alone.
Kill it whenever you like: the same command continues from the last checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from anitalker.config import FPS, InputError
from anitalker.motion.samplers import BETA_FIRST, BETA_LAST, TRAINED_STEPS
from anitalker.network_config import VARIANTS, DenoiserConfig, to_dict
from anitalker.original.denoiser import Denoiser
from encoders import mfcc
from encoders.audio import SAMPLES_PER_FRAME
from scripts.training.engine import fit, open_run, start
from scripts.training.loop import load_module
from scripts.training.losses import weighted_mean
from scripts.training.motion_data import load_motion
from scripts.training.recipe import Recipe, add_dtype, add_features_dir, command, take_recipe, training_parser

RECIPE = Recipe(steps=100_000, batch=16, lr=2e-4, clip=1.0)
WINDOWS = (50, 125)  # frames of a window, least and most
SIGNALS = {"location": slice(0, 1), "scale": slice(1, 2), "pose": slice(2, 5)}  # columns of what is stored
VELOCITY, CONTROL = 0.5, 1.0  # weights beside the noise's 1
TEACHER_FORCED = 0.5  # share of windows whose control signals are given; the others' are predicted from speech
SIZES = ("width", "side", "mfcc_hidden", "decoder_hidden", "decoder_layers", "control", "heads", "kernel")
MFCC_VARIANTS = [name for name, (hears, _) in VARIANTS.items() if hears == "mfcc"]


class Windows:
    """Draws batches of windows of clips whose speaker is seen; a seed repeats them.

    folder: what `scripts.extract_features --stage1 FILE` wrote, which has, of every clip, the codes that a stage one
    reads, `motion` [T,M] and `appearance` [one a second,A], and the control signals, `signals` [T,5].
    """

    def __init__(self, folder: str | Path, split: str) -> None:
        self.clips = [clip for clip in load_motion(folder, split) if clip.speaks and len(clip.codes) >= WINDOWS[0]]
        self.stored = [load_file(Path(folder) / f"{clip.row['id']}.safetensors") for clip in self.clips]
        if not self.clips:
            raise InputError(f"no {split} clip of {WINDOWS[0]} frames or more shows its speaker; give more data")
        if not all({"motion", "appearance", "signals"} <= stored.keys() for stored in self.stored):
            raise InputError(
                f"{folder} lacks codes of a stage one; run python -m scripts.extract_features --stage1 FILE"
            )
        self.lengths = np.array([len(clip.codes) for clip in self.clips])
        self.weights = np.array([clip.weight for clip in self.clips]) * self.lengths**0.5

    def batch(self, size: int, seed: int | list[int]) -> dict[str, Tensor]:
        """motion [B,n,M], portrait [B,M], appearance [B,A], sound [B,4n,39], signals [B,n,5], good [B,n]."""
        rng = np.random.default_rng(seed)
        n = int(min(rng.integers(WINDOWS[0], WINDOWS[1] + 1), self.lengths.max()))
        weights = self.weights * (self.lengths >= n)
        windows = [self._window(i, n, rng) for i in rng.choice(len(self.clips), size, p=weights / weights.sum())]
        return {name: torch.stack([window[name] for window in windows]) for name in windows[0]}

    def _window(self, number: int, n: int, rng: np.random.Generator) -> dict[str, Tensor]:
        clip, stored = self.clips[number], self.stored[number]
        first = int(rng.integers(0, len(clip.codes) - n + 1))
        motion, second = (
            stored["motion"][first : first + n].clamp(-1, 1),
            min(first // FPS, len(stored["appearance"]) - 1),
        )
        sound = clip.sound[first * SAMPLES_PER_FRAME : (first + n) * SAMPLES_PER_FRAME]
        sound = sound * 10 ** (rng.uniform(-10, 6) / 20) + rng.standard_normal(len(sound)) * 10 ** rng.uniform(-5, -3)
        return {
            "motion": motion,
            "portrait": motion[0],
            "appearance": stored["appearance"][second].float(),
            "sound": cepstra(sound.astype(np.float32), n),
            "signals": stored["signals"][first : first + n],
            "good": torch.from_numpy(clip.good[first : first + n]).float(),
        }


def cepstra(sound: np.ndarray, frames: int) -> Tensor:
    """Samples [N] -> [4 frames,39], the last one repeated."""
    features = mfcc.features(torch.from_numpy(sound))[: 4 * frames]
    return torch.cat([features, features[-1:].expand(4 * frames - len(features), -1)])


class DenoiserObjective(nn.Module):
    """Network and losses as one module, for DistributedDataParallel."""

    def __init__(self, network: Denoiser, dtype: str = "float32") -> None:
        super().__init__()
        self.network, self.bf16 = network, dtype == "bfloat16"
        betas = torch.linspace(BETA_FIRST, BETA_LAST, TRAINED_STEPS, dtype=torch.float64)
        self.register_buffer("alpha_bar", (1 - betas).cumprod(0).float(), persistent=False)

    def forward(self, batch: dict[str, Tensor], step: int) -> tuple[dict[str, Tensor], dict]:
        """Windows as `Windows.batch` makes them -> losses with their `total`, and nothing else."""
        with torch.autocast(batch["motion"].device.type, torch.bfloat16, enabled=self.bf16):
            losses = self.losses(batch)
        return losses | {"total": sum(losses.values())}, {}

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The terms of one batch."""
        clean, good, size = batch["motion"], batch["good"], len(batch["motion"])
        forced = torch.rand(size, 1, 1, device=clean.device) < TEACHER_FORCED
        forced[0] = False  # so that the signals of one window at least are predicted
        true = {name: batch["signals"][..., SIGNALS[name]] for name in self.network.config.signals}
        known = {name: torch.where(forced, value, torch.nan) for name, value in true.items()}
        condition = self.network.condition(batch["sound"], batch["appearance"], batch["portrait"], known)
        time = torch.randint(0, TRAINED_STEPS, (size,), device=clean.device)
        alpha_bar, noise = self.alpha_bar[time][:, None, None], torch.randn_like(clean)
        estimate = self.network(condition, alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise, time)
        error, predicted = (estimate - noise).float(), (~forced[..., 0]) * good
        losses = {
            "noise": weighted_mean(error.square().mean(-1), good),
            "velocity": VELOCITY * weighted_mean(error.diff(dim=1).square().mean(-1), good[:, 1:] * good[:, :-1]),
        }
        for name, value in true.items():
            difference = (condition.signals[name].float() - value).square().mean(-1)
            losses[name] = CONTROL * weighted_mean(torch.where(predicted > 0, difference, 0), predicted)
        return losses


@torch.no_grad()
def validate(network: Denoiser, windows: Windows, batches: int = 6, size: int = 8) -> dict[str, float]:
    """Mean losses over windows of val, always the same ones."""
    device, means = next(network.parameters()).device, Counter()
    objective = DenoiserObjective(network).to(device)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for number in range(batches):
            batch = {name: value.to(device) for name, value in windows.batch(size, [1, number]).items()}
            means.update({name: float(value) / batches for name, value in objective.losses(batch).items()})
    return dict(means)


@command
def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    recipe, folder = take_recipe(options, RECIPE), options.features_dir
    engine = start(options)
    sizes = dict(options.sizes)
    if unknown := [name for name in sizes if name not in SIZES]:
        raise InputError(f"--sizes has no {unknown[0]}; allowed are {', '.join(SIZES)}, like width=256")
    windows = Windows(folder, "train")
    held_out = Windows(folder, "val") if load_motion(folder, "val") else None
    motion, appearance = (windows.stored[0][name].shape[1] for name in ("motion", "appearance"))
    config = DenoiserConfig(options.variant, start=appearance, motion=motion, **sizes)
    network = Denoiser(config)
    if options.start:
        load_module(network, options.start, "stage2")
    objective = DenoiserObjective(network, options.dtype).to(engine.device)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.lr, weight_decay=0.01)
    run = open_run(engine, options, recipe, {"stage2": network}, optimizer, {"stage2": to_dict(config)})

    def draw(step: int, seed: int) -> dict[str, Tensor]:
        return {name: value.to(engine.device) for name, value in windows.batch(recipe.batch, seed).items()}

    def report(batch: dict[str, Tensor], outputs: dict) -> None:
        if held_out:
            run.scores(validate(run.averaged("stage2"), held_out))

    fit(run, engine, objective.train(), draw, report)


def _size(text: str) -> tuple[str, int]:
    """NAME=N of the command line."""
    name, _, number = text.partition("=")
    if not number.isdigit() or not int(number):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=N")
    return name, int(number)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = training_parser(__doc__, RECIPE, out="runs/denoiser")
    add_features_dir(parser)
    parser.add_argument("--variant", default="mfcc_full_control", choices=MFCC_VARIANTS)
    text = f"of the network, unless the original's: {', '.join(SIZES)}"
    parser.add_argument("--sizes", nargs="*", type=_size, default=[], metavar="NAME=N", help=text)
    add_dtype(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
