"""Train the lip regressor: speech alone -> expression, beside a motion generator that stays as it is.

    python -m scripts.extract_features --data DIR --lips DIR --out runs/features
    python -m scripts.train_lip_regressor --features-dir runs/features --phonetic runs/phonetic --out runs/lips
    python -m scripts.export checkpoints/lite.safetensors runs/lips -o lite.safetensors

The run keeps generator and phonetic encoder together, because the regressor fits no other encoder.
Kill it whenever you like: the same command continues from the last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from anitalker.config import POSE_SIZE
from anitalker.motion.generator import MotionGenerator
from anitalker.network_config import SpeechConfig, to_dict
from encoders.audio import normalise_level
from encoders.speech import SpeechFeatures
from scripts.evaluation.metrics import pearson
from scripts.training.engine import fit, open_run, start
from scripts.training.generator_start import begin_at, parts_of, phonetic_of
from scripts.training.lip_loss import LipLoss, mouth_readout
from scripts.training.motion_data import MotionClip, MotionExamples, load_motion, measure
from scripts.training.recipe import Recipe, add_dtype, add_features_dir, command, take_recipe, training_parser
from scripts.training.sound_augment import SoundAugment
from scripts.training.speakers import even_spread, true_level
from scripts.training.sync import delay, shift_late_sound

RECIPE = Recipe(steps=3000, batch=24, lr=1e-3, clip=1.0, warm=200, decay=0.995, score=250)
WIDTH = 160
NO_PHONES = "none"
NOISE = 0.1  # added to the measured features, whose spread is about one
WINDOW = (32, 110)  # frames
LEAST_SHIFT = 0.15  # frames: offsets of the manifests are whole frames


class LipObjective(nn.Module):
    """The regressor and its losses as one module; only speakers who are seen count."""

    def __init__(self, network: MotionGenerator, loss: LipLoss, noisy: int, dtype: str) -> None:
        super().__init__()
        self.network, self.loss, self.noisy, self.bf16 = network, loss, noisy, dtype == "bfloat16"

    def forward(self, batch: dict[str, Tensor], step: int) -> tuple[dict[str, Tensor], dict]:
        """Windows as `MotionExamples.batch` makes them -> losses with their `total`, and nothing else."""
        speech = batch["speech"].clone()
        speech[..., : self.noisy] += NOISE * torch.randn_like(speech[..., : self.noisy])
        truth = self.network.normalise(batch["motion"], batch["start"]).clamp(-6, 6)
        assert self.network.lips is not None  # `begin_at` was told a width
        with torch.autocast(speech.device.type, torch.bfloat16, enabled=self.bf16):
            estimate = self.network.lips(speech).float()
        losses = self.loss(estimate, truth, batch["good"].float() * (~batch["deaf"]).float()[:, None])
        return losses | {"total": sum(losses.values())}, {}


@torch.no_grad()
def lip_scores(
    network: MotionGenerator, heard: Sequence[Tensor], clips: Sequence[MotionClip], opening: Tensor
) -> dict[str, float]:
    """Correlation of the lip opening at zero lag and its spread over the true one, means over people.

    heard: speech features [T,S] of each clip; opening [14]: readout of `mouth_readout`. Filmed and generated apart.
    """
    people: dict[str, dict[str, list]] = {"filmed": defaultdict(list), "generated": defaultdict(list)}
    for speech, clip in zip(heard, clips, strict=True):
        lips, truth = (expressions(network, speech) @ opening).numpy(), clip.lips
        count = min(len(lips), len(truth))
        kind = "filmed" if clip.row["generated"] == "no" else "generated"
        values = pearson(lips[:count], truth[:count]), lips.std() / max(truth.std(), 1e-6)
        people[kind][clip.row["identity"]].append(values)
    scores = {}
    for kind, values in people.items():
        if values:
            correlation, spread = np.mean([np.mean(person, 0) for person in values.values()], 0)
            scores |= {kind: float(correlation), f"{kind}_spread": float(spread)}
    return scores


@torch.no_grad()
def measure_sync(
    network: MotionGenerator, features: SpeechFeatures, clips: Sequence[MotionClip], opening: Tensor
) -> dict[str, tuple[float, float]]:
    """How late each clip's sound is by what the regressor hears in it: id -> (frames, correlation)."""
    delays = {}
    for clip in clips:
        expression = expressions(network, features(normalise_level(torch.from_numpy(clip.sound))))
        delays[clip.row["id"]] = delay((expression @ opening).numpy(), clip.lips)
    return delays


def expressions(network: MotionGenerator, speech: Tensor) -> Tensor:
    """Speech features [T,S] -> expression [T,14] less its mean over all speech, by the regressor alone."""
    assert network.lips is not None
    return (network.lips(speech[None]) * network.std)[0, :, POSE_SIZE:]


@command
def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    recipe = take_recipe(options, RECIPE)
    engine = start(options)
    clips = [clip for clip in load_motion(options.features_dir, "train") if clip.speaks]
    clips = [clip for clip in clips if not clip.row["shard"].startswith(tuple(options.leave_out))]
    held_out = [clip for clip in load_motion(options.features_dir, "val") if clip.speaks]
    space = measure(options.features_dir, clips)
    phonetic = None if options.phonetic == NO_PHONES else phonetic_of(options.phonetic or options.start)
    readout = mouth_readout(torch.from_numpy(space.directions).float())
    true_level(clips, readout[:, 0].numpy())
    even_spread(clips, space.spoken, readout[:, 0].numpy())
    features = SpeechFeatures(**to_dict(SpeechConfig()), phonetic=phonetic)
    network = begin_at(options.start, features.size, options.width, options.new_lips)
    network.requires_grad_(False)
    assert network.lips is not None
    network.lips.requires_grad_(True)
    expressions = np.concatenate([clip.codes[:, POSE_SIZE:] - clip.codes[:, POSE_SIZE:].mean(0) for clip in clips])
    shape_std = torch.from_numpy((expressions @ readout.numpy()).std(0)).float()
    loss = LipLoss(network.std, readout, shape_std)
    objective = LipObjective(network, loss, features.acoustic_size, options.dtype).to(engine.device)
    optimizer = torch.optim.AdamW(network.lips.parameters(), recipe.lr, betas=(0.9, 0.98), weight_decay=0.02)
    modules, configs = parts_of(network, phonetic)
    run = open_run(engine, options, recipe, modules, optimizer, configs)
    noises = [(clip.sound * 32767).astype(np.int16) for clip in clips[:: max(1, len(clips) // 200)]]
    examples = MotionExamples(clips, features, space.spoken, SoundAugment(noises))
    with torch.no_grad():
        heard = [features(normalise_level(torch.from_numpy(clip.sound))) for clip in held_out]

    def synchronise() -> None:
        """Find how late the sound of each clip is, once per run folder, and shift it."""
        path = Path(options.out) / "sync.json"
        if engine.main and not path.is_file():
            path.write_text(json.dumps(measure_sync(run.averaged("generator").cpu(), features, clips, readout[:, 0])))
            print("sync: sound shifted by", path, flush=True)
        engine.wait()
        shift_late_sound(json.loads(path.read_text()), clips, least=LEAST_SHIFT, most=2.0)

    synchronised = False

    def draw(step: int, seed: int) -> dict[str, Tensor]:
        nonlocal synchronised
        if options.sync_at and step >= options.sync_at and not synchronised:
            synchronise()
            synchronised = True
        frames = int(np.random.default_rng((options.seed, step)).integers(*WINDOW))
        batch = examples.batch(recipe.batch, 2, frames, seed)
        return {name: value.to(engine.device) for name, value in batch.items()}

    def report(batch: dict[str, Tensor], outputs: dict) -> None:
        if held_out:
            averaged = run.averaged("generator").cpu()
            run.scores(lip_scores(averaged, heard, held_out, readout[:, 0]))

    fit(run, engine, objective.train(), draw, report)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = training_parser(__doc__, RECIPE, out="runs/lips", device="cpu", threads=1)
    add_features_dir(parser)
    parser.set_defaults(start="checkpoints/lite.safetensors")
    parser.add_argument(
        "--phonetic", metavar="RUN", help=f"phonetic encoder to hear; by default that of --start; {NO_PHONES}: none"
    )
    parser.add_argument("--new-lips", action="store_true", help="the regressor begins anew, whatever --start has")
    parser.add_argument(
        "--leave-out", nargs="+", default=[], metavar="SHARD", help="beginnings of shards whose clips are not learned"
    )
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--sync-at", type=int, default=200, help="step at which late sound is found; 0 never")
    add_dtype(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
