"""Stage one: the encoder reads codes from pixels (`--stage codes`), then the decoder draws them (`--stage decoder`)."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from anitalker.config import MotionSpaceConfig, to_dict
from anitalker.motion_space import MotionSpace
from scripts.training.codes import CodesLoss, score_codes, start_from_labels
from scripts.training.data import FrameCache, build_cache
from scripts.training.labels import MotionLabels, build_labels
from scripts.training.loop import Run, load_module, schedule, seed_all
from scripts.training.losses import point_weights
from scripts.training.pairs import PairSampler, animate_stills

LAST_STAGE = 0.6  # share of HAL's last stage at a restart


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    torch.set_num_threads(arguments.threads)
    seed_all(arguments.seed)
    for split in ("train", "val"):
        build_cache(arguments.data, arguments.cache, split)
    path = Path(arguments.cache) / "labels.npz"
    if not path.is_file():
        build_labels(arguments.data, MotionSpaceConfig().expression_size).save(path)
    labels = MotionLabels.load(path)
    train, val = FrameCache(arguments.cache, "train"), FrameCache(arguments.cache, "val")
    if arguments.stage == "codes":
        train_codes(arguments, train, val, labels)
    else:
        from scripts.training.pictures import train_decoder

        train_decoder(arguments, train, val, labels)


def train_codes(arguments: argparse.Namespace, train: FrameCache, val: FrameCache, labels: MotionLabels) -> None:
    """Pairs of frames -> codes; prints the scores on val every `--score` steps and at the end."""
    config = MotionSpaceConfig()
    space = MotionSpace(config)
    start_from_labels(space, labels, train)
    loss = CodesLoss(int(train.identity.max()) + 1, config.identity_size, config.encoder.code_size, point_weights())
    if arguments.start:
        load_module(space, arguments.start, "motion_space")
        factor = space.hal.rebalance(LAST_STAGE)
        with torch.no_grad():
            for parameter in space.encoder.last.parameters():
                parameter.mul_(factor)
    # HAL's logits at the common rate: at ten times, the quick pooled stages starved the last one, which keeps place.
    parameters = [*space.parameters(), *loss.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=arguments.lr, weight_decay=0.01)
    sampler = PairSampler(train, labels, aligned=0.65, seed=arguments.seed)
    resolved = {**vars(arguments), "motion_space": to_dict(config)}
    modules = {"motion_space": space, "loss": loss}
    run = Run(arguments.out, resolved, modules, optimizer, arguments.steps, 2 * arguments.batch)
    if run.resume():
        sampler.reseed(arguments.seed + run.step)
    for step in run.steps():
        for group in optimizer.param_groups:
            group["lr"] = arguments.lr * schedule(step, arguments.steps)
        losses = loss(space, animate_stills(sampler.draw(arguments.batch), space))
        optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        run.log(**{name: value.item() for name, value in losses.items()}, last_stage=space.hal.weights()[-1].item())
        if (step + 1) % arguments.score == 0 or step + 1 == arguments.steps:
            averaged = MotionSpace(config)
            prefix = "motion_space."
            state = {k.removeprefix(prefix): v for k, v in run.average.items() if k.startswith(prefix)}
            averaged.load_state_dict(state)
            scores = score_codes(averaged, val, labels)
            print("val " + " ".join(f"{name} {value:.3f}" for name, value in scores.items()), flush=True)
            run.write(**{f"val/{name}": value for name, value in scores.items()})


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--cache", default="runs/cache", help="decoded frames and labels")
    parser.add_argument("--stage", choices=("codes", "decoder"), default="codes")
    parser.add_argument("--out", required=True, help="run folder; an existing run there is continued")
    parser.add_argument(
        "--codes", help="decoder stage: run folder of the codes stage, or weights; without it, label codes"
    )
    parser.add_argument(
        "--frozen", action="store_true", help="decoder stage: leave the encoder as it is; twice as fast"
    )
    parser.add_argument("--start", help="run folder, or weights, whose networks to begin with")
    parser.add_argument("--features", help="decoder stage: .npz of SqueezeNet 1.0 for the perceptual loss")
    parser.add_argument(
        "--adversarial",
        type=float,
        default=0.0,
        metavar="WEIGHT",
        help="decoder stage: of the adversarial term, a share of the reconstruction's gradient (0: none)",
    )
    parser.add_argument("--adversarial-after", type=int, default=500, metavar="STEPS", help="before it sets in")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=24, help="pairs per step")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--score", type=int, default=500, help="steps between scores on val")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
