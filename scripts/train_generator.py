"""Train the motion generator (stage two) on the codes and the sound of clips: flow matching, minutes on a CPU.

    python -m scripts.extract_features --data DIR --lips DIR --out runs/features
    python -m scripts.train_generator --features-dir runs/features --phonetic runs/phonetic --out runs/generator
    python -m scripts.train_lip_regressor --features-dir runs/features --start runs/generator --out runs/lips
    torchrun --nproc-per-node 2 -m scripts.train_generator --features-dir runs/features --out runs/generator

With --start another generator's weights and normalisation are kept, and it learns to hear what it did not hear before
(--phonetic). The lip regressor beside it has a training of its own.

Kill it whenever you like: the same command continues from the last checkpoint.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from anitalker.config import POSE_SIZE
from anitalker.faces.landmarks import LIPS
from anitalker.motion import samplers
from anitalker.motion.generator import CONTROL_INDICES, MotionGenerator
from anitalker.motion.windows import SamplingParams, generate_motion
from anitalker.network_config import GeneratorConfig, SpeechConfig, to_dict
from encoders.audio import normalise_level
from encoders.speech import SpeechFeatures
from scripts.evaluation.metrics import pearson
from scripts.training.engine import fit, open_run, start
from scripts.training.generator_start import begin_at, parts_of, phonetic_of
from scripts.training.lip_loss import mouth_readout
from scripts.training.losses import weighted_mean
from scripts.training.motion_data import MotionClip, MotionExamples, Space, blink_course, load_motion, measure
from scripts.training.recipe import Recipe, add_dtype, add_features_dir, command, take_recipe, training_parser
from scripts.training.sync import delay, shift_late_sound

RECIPE = Recipe(steps=4000, batch=32, lr=6e-4, clip=1.0)
ONE_STEP = SamplingParams(steps=1, guidance=1.0, temperature=0.0)


class MotionLoss(nn.Module):
    """Squared error of normalised motion and of its velocity: every number, the lips' landmarks, and their opening.

    Each term is 1 for a prediction of nothing, so all count alike.
    """

    def __init__(self, space: Space) -> None:
        super().__init__()
        spread = space.std[POSE_SIZE:]
        lips = space.directions[:, list(LIPS)].reshape(len(spread), -1) * spread[:, None]
        opening = (space.opening * spread)[:, None]
        for name, rows in (("lips", lips), ("opening", opening)):
            self.register_buffer(name, torch.tensor(rows / np.linalg.norm(rows), dtype=torch.float32))

    def terms(self, error: Tensor) -> Tensor:
        """Error [B,n,20] -> [B,n]."""
        face = error[..., POSE_SIZE:]
        landmarks = sum((face @ rows).square().sum(-1) for rows in (self.lips, self.opening))
        return error.square().mean(-1) + landmarks

    def forward(self, estimate: Tensor, clean: Tensor, good: Tensor) -> dict[str, Tensor]:
        """Position and velocity losses of [B,n,20]; good [B,n] frames count."""
        error = estimate - clean
        place = weighted_mean(self.terms(error), good)
        return {"place": place, "velocity": weighted_mean(self.terms(error.diff(dim=1)), good[:, 1:] * good[:, :-1])}


def draw_window(rng: np.random.Generator, config: GeneratorConfig) -> tuple[int, int]:
    """(p, n): frames before and frames to make. Any n, so that look-ahead may be short; p = 1 is the portrait alone."""
    before = [1, config.previous, int(rng.integers(2, config.previous + 1))]
    window = [config.window, int(rng.integers(30, config.window)), int(rng.integers(2, 30))]
    return before[rng.choice(3, p=[0.3, 0.55, 0.15])], window[rng.choice(3, p=[0.3, 0.5, 0.2])]


def draw_controls(motion: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Variance controls of normalised motion [B,L,20], drawn at random: (motion, controls [B,L,5], given [B,L,5]).

    Most windows have none; the others some: the mean of the window or the course itself. A tenth holds the head still.
    """
    size, length, _ = motion.shape

    def chance(share: float, columns: int = 1) -> Tensor:
        return torch.rand(size, 1, columns, device=motion.device) < share

    course = motion[:, :, list(CONTROL_INDICES)]
    controls = torch.where(chance(0.5), course.mean(1, keepdim=True), course)
    given = chance(0.5, len(CONTROL_INDICES)) & chance(0.4)
    still = chance(0.1)
    pose = torch.arange(motion.shape[-1], device=motion.device) < POSE_SIZE
    motion = motion.masked_fill(still & pose, 0)
    return motion, controls.masked_fill(still, 0), (given | still).float().expand(-1, length, -1)


class GeneratorObjective(nn.Module):
    """Network and losses as one module, for DistributedDataParallel."""

    def __init__(self, network: MotionGenerator, loss: MotionLoss, dtype: str = "float32") -> None:
        super().__init__()
        self.network, self.loss, self.bf16 = network, loss, dtype == "bfloat16"

    def forward(self, batch: dict[str, Tensor], step: int) -> tuple[dict[str, Tensor], dict]:
        """Windows as `MotionExamples.batch` makes them -> losses with their `total`, and nothing else."""
        with torch.autocast(batch["motion"].device.type, torch.bfloat16, enabled=self.bf16):
            losses = self._motion(batch)
        return losses | {"total": sum(losses.values())}, {}

    def _motion(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Flow matching (Lipman et al. 2023) of the frames to make, behind those before."""
        network, before, start = self.network, batch["good"].shape[1] - batch["frames"], batch["start"]
        motion = network.normalise(batch["motion"], start).clamp(-6, 6)
        size, device = len(motion), motion.device
        motion, controls, given = draw_controls(motion)
        previous, clean = motion[:, :before], motion[:, before:]
        if before > 1:
            previous = previous + 0.12 * torch.rand(size, 1, 1, device=device) * torch.randn_like(previous)
        time = torch.rand(size, device=device) ** 1.5  # the beginning decides what is said; the end only polishes
        time = torch.where(torch.rand(size, device=device) < 0.25, 0.0, time)
        deaf = batch["deaf"] | (torch.rand(size, device=device) < 0.12)
        noisy = samplers.interpolate(clean, torch.randn_like(clean), time)
        estimate = network(noisy, time, network.encode_speech(batch["speech"]), start, previous, controls, given, deaf)
        return self.loss(estimate, clean, batch["good"][:, before:].float())


def openings(codes: Tensor, space: Space) -> np.ndarray:
    """Lip opening [T] of codes [T,20] above that of the neutral face, in face heights."""
    return (codes[:, POSE_SIZE:] @ mouth_readout(torch.from_numpy(space.directions).float())[:, 0]).numpy()


class Speaker:
    """A generator that speaks clips: lip openings [T] from a clip's first code under speech features [1,T,S]."""

    def __init__(self, network: MotionGenerator, features: SpeechFeatures, space: Space) -> None:
        self.network, self.features, self.space = network.eval(), features, space

    def hear(self, sound: np.ndarray) -> Tensor:
        """float32 [N] at 16 kHz -> features [1,T,S]."""
        return self.features(normalise_level(torch.from_numpy(sound)))[None]

    @torch.no_grad()
    def __call__(self, clip: MotionClip, speech: Tensor, seed: int, wishes: SamplingParams) -> np.ndarray:
        start, generator = torch.from_numpy(clip.codes[:1]), torch.Generator().manual_seed(seed)
        return openings(generate_motion(self.network, speech, start, generator, wishes), self.space)


def validate(speaker: Speaker, clips: list[MotionClip], wishes: SamplingParams, samples: int = 2) -> dict[str, float]:
    """Scores of single samples on clips of real people who speak in the picture.

    correlation, of the lip opening at zero lag; spread, its deviation over the true one's.
    """
    correlations, spreads = [], []
    for clip in (clip for clip in clips if clip.speaks and clip.row["generated"] == "no"):
        speech = speaker.hear(clip.sound)
        for seed in range(samples):
            lips = speaker(clip, speech, seed, wishes)
            correlations.append(pearson(lips, clip.lips))
            spreads.append(lips.std() / clip.lips.std())
    return {"correlation": float(np.mean(correlations)), "spread": float(np.mean(spreads))}


def measure_sync(speaker: Speaker, clips: list[MotionClip]) -> dict[str, tuple[float, float]]:
    """How late each speaking clip's sound is by the network's single-step estimate: id -> (frames, correlation)."""
    speaking = [clip for clip in clips if clip.speaks]
    return {clip.row["id"]: delay(speaker(clip, speaker.hear(clip.sound), 0, ONE_STEP), clip.lips) for clip in speaking}


@command
def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    recipe = take_recipe(options, RECIPE)
    engine = start(options)
    clips, held_out = load_motion(options.features_dir, "train"), load_motion(options.features_dir, "val")
    space, phonetic = measure(options.features_dir, clips), None
    if source := options.phonetic or options.start:
        phonetic = phonetic_of(source)
    features = SpeechFeatures(**to_dict(SpeechConfig()), phonetic=phonetic)
    if options.start:
        network = begin_at(options.start, features.size)
        if network.lips is not None:
            network.lips.requires_grad_(False)
    else:
        config = GeneratorConfig(
            speech_size=features.size,
            width=options.width,
            layers=options.layers,
            dropout=options.dropout,
            motion_mean=tuple(space.mean.tolist()),
            motion_std=tuple(space.std.tolist()),
            blink=tuple(map(tuple, blink_course(clips, space.directions).round(5).tolist())),
        )
        network = MotionGenerator(config)
        network.spoken.copy_(torch.from_numpy(space.spoken_normalised))
    objective = GeneratorObjective(network, MotionLoss(space), options.dtype).to(engine.device)
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, recipe.lr, betas=(0.9, 0.98), weight_decay=0.03)
    modules, configs = parts_of(network, phonetic)
    run = open_run(engine, options, recipe, modules, optimizer, configs)
    examples = MotionExamples(clips, features, space.spoken)
    sync_at = options.sync_at or recipe.steps

    def averaged() -> Speaker:
        return Speaker(copy.deepcopy(run.averaged("generator")).cpu(), features, space)

    def synchronise() -> None:
        """Find late sound once per run folder, and shift it."""
        path = Path(options.out) / "sync.json"
        if engine.main and not path.is_file():
            path.write_text(json.dumps(measure_sync(averaged(), clips)))
            print("sync: shifted or silenced clips by", path, flush=True)
        engine.wait()
        shift_late_sound(json.loads(path.read_text()), clips)

    def draw(step: int, seed: int) -> dict[str, Tensor]:
        nonlocal sync_at
        if step >= sync_at:
            synchronise()
            sync_at = recipe.steps
        before, frames = draw_window(np.random.default_rng((options.seed, step)), network.config)
        batch = examples.batch(recipe.batch, before, frames, seed)
        return {name: value.to(engine.device) for name, value in batch.items()} | {"frames": frames}

    def report(batch: dict[str, Tensor], outputs: dict) -> None:
        if held_out:
            run.scores(validate(averaged(), held_out, SamplingParams()))

    fit(run, engine, objective.train(), draw, report)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = training_parser(__doc__, RECIPE, out="runs/generator", device="cpu")
    add_features_dir(parser)
    parser.add_argument(
        "--phonetic", metavar="RUN", help="phonetic encoder to hear; by default that of --start, if any"
    )
    parser.add_argument("--width", type=int, default=GeneratorConfig.width)
    parser.add_argument("--layers", type=int, default=GeneratorConfig.layers)
    parser.add_argument("--dropout", type=float, default=GeneratorConfig.dropout)
    add_dtype(parser)
    parser.add_argument("--sync-at", type=int, default=400, help="step at which late sound is found; 0 never")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
