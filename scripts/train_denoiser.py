"""Train stage two of the original's family: its conformer estimates the noise in motion codes from speech (MFCC).

    python -m scripts.extract_features --data DIR --labels runs/cache/labels.npz --stage1 stage1.safetensors
    python -m scripts.train_denoiser --features runs/features --run runs/denoiser
    python -m scripts.export runs/denoiser --kind stage2 -o FILE.safetensors
    anitalker render face.jpg speech.wav -o out.mp4 --model original --stage1 stage1.safetensors --stage2 FILE

Losses (Liu et al., "AniTalker", 2024, section 3.3): the error of the estimated noise (Ho et al. 2020, eq. 14), that of
its change from frame to frame, and, for the variance adapter, that of the control signals told from speech alone.
Kill it whenever you like: the same command continues from the last checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from anitalker.config import VARIANTS, DenoiserConfig, InputError, to_dict
from anitalker.motion.samplers import BETA_FIRST, BETA_LAST, TRAINED
from anitalker.original.denoiser import Denoiser
from scripts.training.denoiser_data import SIGNALS, Scale, Windows, load_courses
from scripts.training.engine import Engine, fit
from scripts.training.loop import Run, load_module, seed_all
from scripts.training.motion_data import load_motion
from scripts.training.motion_statistics import measure

VELOCITY, CONTROL = 0.5, 1.0  # weights beside the noise's 1
TOLD = 0.5  # share of windows whose control signals are given; the others' are told from speech


class DenoiserObjective(nn.Module):
    """Network and losses as one module, for DistributedDataParallel."""

    def __init__(self, network: Denoiser, dtype: str = "float32") -> None:
        super().__init__()
        self.network, self.short = network, dtype == "bfloat16"
        betas = torch.linspace(BETA_FIRST, BETA_LAST, TRAINED, dtype=torch.float64)
        self.register_buffer("alpha_bar", (1 - betas).cumprod(0).float(), persistent=False)

    def forward(self, batch: dict[str, Tensor], step: int) -> tuple[dict[str, Tensor], dict]:
        """Windows as `Windows.batch` makes them -> losses with their `total`, and nothing else."""
        with torch.autocast(batch["motion"].device.type, torch.bfloat16, enabled=self.short):
            losses = self.losses(batch)
        return losses | {"total": sum(losses.values())}, {}

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The terms of one batch."""
        clean, good, size = batch["motion"], batch["good"], len(batch["motion"])
        known = torch.rand(size, 1, 1, device=clean.device) < TOLD
        known[0] = False  # so that the signals of one window at least are told
        true = {name: batch["signals"][..., SIGNALS[name]] for name in self.network.config.signals}
        given = {name: torch.where(known, value, torch.nan) for name, value in true.items()}
        condition = self.network.condition(batch["sound"], batch["appearance"], batch["portrait"], given)
        time = torch.randint(0, TRAINED, (size,), device=clean.device)
        kept, noise = self.alpha_bar[time][:, None, None], torch.randn_like(clean)
        estimate = self.network(condition, kept.sqrt() * clean + (1 - kept).sqrt() * noise, time)
        error, told = (estimate - noise).float(), (~known[..., 0]) * good
        losses = {
            "noise": _mean(error.square().mean(-1), good),
            "velocity": VELOCITY * _mean(error.diff(dim=1).square().mean(-1), good[:, 1:] * good[:, :-1]),
        }
        for name, value in true.items():
            off = (condition.signals[name].float() - value).square().mean(-1)
            losses[name] = CONTROL * _mean(torch.where(told > 0, off, 0), told)
        return losses


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of [B,n]."""
    return (values * weight).sum() / weight.sum().clamp(min=1)


@torch.no_grad()
def validate(network: Denoiser, windows: Windows, batches: int = 6, size: int = 8) -> dict[str, float]:
    """Mean losses over windows of val, always the same ones."""
    objective = DenoiserObjective(network.eval())
    found: dict[str, float] = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for number in range(batches):
            for name, value in objective.losses(windows.batch(size, [1, number])).items():
                found[name] = found.get(name, 0.0) + float(value) / batches
    return found


def main(arguments: list[str] | None = None) -> int:
    try:
        train(parse(arguments))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def train(options: argparse.Namespace) -> None:
    """Steps up to options.steps; continues what is in options.run."""
    if options.threads:
        torch.set_num_threads(options.threads)
    engine = Engine(options.device)
    seed_all(options.seed)
    clips = load_motion(options.features, "train")
    courses, space = load_courses(options.features, clips), measure(options.features, clips)
    scale = Scale(space.mean, space.std)
    sizes = [course.appearance.shape[1] for course in courses if course.appearance is not None]
    known = {"start": sizes[0], "motion": courses[0].motion.shape[1]} if sizes else {}
    given = {name: value for name, value in options.sizes}
    if wrong := [name for name in given if name not in SIZES]:
        raise InputError(f"--sizes has no {wrong[0]}; allowed are {', '.join(SIZES)}, like width=256")
    config = DenoiserConfig(options.variant, **known, **given)
    windows = Windows(courses, scale, config.start)
    held_out = load_motion(options.features, "val")
    held_out = Windows(load_courses(options.features, held_out), scale, config.start) if held_out else None
    network = Denoiser(config)
    if options.start:
        load_module(network, options.start, "stage2")
    objective = DenoiserObjective(network, options.dtype).to(engine.device)
    optimizer = torch.optim.AdamW([{"params": list(network.parameters()), "peak": options.rate}], weight_decay=0.01)
    resolved = {"stage2": to_dict(config), **vars(options)}
    count = options.batch * options.accumulate * engine.world
    run = Run(options.run, resolved, {"stage2": network}, optimizer, options.steps, count, main=engine.main)
    run.resume()
    optimizer.param_groups[0]["peak"] = options.rate  # one given anew counts

    def draw(seed: int) -> dict[str, Tensor]:
        return {name: value.to(engine.device) for name, value in windows.batch(options.batch, seed).items()}

    def report(step: int, batch: dict[str, Tensor], left: dict) -> None:
        if held_out:
            average = Denoiser(config)
            average.load_state_dict(run.averaged("stage2"))
            run.scores(validate(average, held_out))

    numbers = {name: getattr(options, name) for name in ("steps", "batch", "accumulate")}
    fit(
        run,
        engine,
        objective.train(),
        draw,
        [],
        SimpleNamespace(**numbers, **LOOP, score=options.validate_every),
        report,
    )


LOOP = {"warm": 200, "clip": 1.0}  # steps until the highest rate; longest gradient
SIZES = ("width", "side", "mfcc_hidden", "decoder_hidden", "decoder_layers", "control", "heads", "kernel")
HEARD = [name for name, (hears, _) in VARIANTS.items() if hears == "mfcc"]


def _size(text: str) -> tuple[str, int]:
    """NAME=N of the command line."""
    name, _, number = text.partition("=")
    if not number.isdigit() or not int(number):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=N")
    return name, int(number)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", default="runs/features", help="folder made by scripts.extract_features")
    parser.add_argument("--run", default="runs/denoiser", help="folder for checkpoints, weights and logs")
    parser.add_argument("--variant", default="mfcc_full_control", choices=HEARD)
    parser.add_argument(
        "--sizes",
        nargs="*",
        type=_size,
        default=[],
        metavar="NAME=N",
        help=f"of the network, unless the original's: {', '.join(SIZES)}",
    )
    parser.add_argument("--start", help="run folder whose network to begin with")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=16, help="windows at once in one process")
    parser.add_argument("--accumulate", type=int, default=1, help="batches whose gradients make one step")
    parser.add_argument("--rate", type=float, default=2e-4, help="highest learning rate; falls along a cosine")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16", help="of the products")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it to torch")
    parser.add_argument("--validate-every", type=int, default=500, help="steps between losses on val")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
