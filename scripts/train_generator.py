"""Train the motion generator (stage two) on the codes and the sound of clips: flow matching, minutes on a CPU.

    python -m scripts.extract_features --data DIR --output runs/features
    python -m scripts.train_generator --features runs/features --run runs/generator
    python -m scripts.train_generator --run runs/generator-lips --start runs/generator --only-lips
    torchrun --nproc-per-node 2 -m scripts.train_generator --features runs/features --run runs/generator

Kill it whenever you like: the same command continues from the last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anitalker.config import POSE_SIZE, GeneratorConfig, SpeechConfig, to_dict
from anitalker.faces.landmarks import LIPS, lip_opening
from anitalker.motion import samplers
from anitalker.motion.generator import CONTROL_INDICES, MotionGenerator
from anitalker.motion.windows import SamplingParams, generate_motion
from encoders.audio import SAMPLE_RATE, normalise_level
from encoders.speech import SpeechFeatures
from scripts.training.engine import Engine
from scripts.training.lips import LIPS_WIDTH, lips_step, lips_window
from scripts.training.loop import Run, load_module, seed_all
from scripts.training.motion_data import MotionClip, MotionExamples, load_motion
from scripts.training.motion_statistics import Space, blink_course, measure


class MotionLoss(torch.nn.Module):
    """Squared error of normalised motion: every number, the lips' landmarks, their opening, and the same of velocity.

    Each term is 1 for a prediction of nothing, so the weights say how much each counts.
    """

    def __init__(self, space: Space, lips: float = 1.0, opening: float = 1.0, velocity: float = 1.0) -> None:
        super().__init__()
        self.weights = {"code": 1.0, "lips": lips, "opening": opening}
        self.velocity = velocity
        points = space.directions[:, list(LIPS)].reshape(len(space.directions), -1) * space.std[POSE_SIZE:, None]
        self.register_buffer("points", torch.tensor(points / np.linalg.norm(points), dtype=torch.float32))
        opening_row = space.opening * space.std[POSE_SIZE:]
        self.register_buffer(
            "opening", torch.tensor(opening_row / np.linalg.norm(opening_row), dtype=torch.float32)[:, None]
        )

    def terms(self, error: Tensor) -> Tensor:
        """Error [B,n,20] -> [B,n]."""
        face = error[..., POSE_SIZE:]
        total = self.weights["code"] * error.square().mean(-1)
        total = total + self.weights["lips"] * (face @ self.points).square().sum(-1)
        return total + self.weights["opening"] * (face @ self.opening).square().sum(-1)

    def forward(self, estimate: Tensor, clean: Tensor, good: Tensor) -> tuple[Tensor, Tensor]:
        """Position and velocity losses of [B,n,20]; good [B,n] frames count."""
        error = estimate - clean
        step = error[:, 1:] - error[:, :-1]
        both = good[:, 1:] * good[:, :-1]
        place = (self.terms(error) * good).sum() / good.sum()
        return place, self.velocity * (self.terms(step) * both).sum() / both.sum().clamp(min=1)


def shape_of_window(rng: np.random.Generator, config: GeneratorConfig) -> tuple[int, int]:
    """(p, n): frames before and frames to make. Any n, so that look-ahead may be short; p = 1 is the portrait alone."""
    p = [1, config.previous, int(rng.integers(2, config.previous + 1))][rng.choice(3, p=[0.3, 0.55, 0.15])]
    n = [config.window, int(rng.integers(30, config.window)), int(rng.integers(2, 30))][
        rng.choice(3, p=[0.3, 0.5, 0.2])
    ]
    return p, n


def controls_of(motion: Tensor, p: int) -> tuple[Tensor, Tensor, Tensor]:
    """Variance controls of normalised motion [B,L,20], drawn at random: (motion, controls [B,L,5], given [B,L,5]).

    Most windows have none; the others some: the mean of the window or the course itself. A tenth holds the head still.
    """
    size, length, _ = motion.shape

    def chance(share: float, columns: int = 1) -> Tensor:
        return torch.rand(size, 1, columns, device=motion.device) < share

    course = motion[:, :, list(CONTROL_INDICES)]
    smooth = torch.where(chance(0.5), course.mean(1, keepdim=True), course)
    given = chance(0.5, len(CONTROL_INDICES)) & chance(0.4)
    still = chance(0.1)
    given = given | still
    pose = torch.zeros(motion.shape[-1], device=motion.device)
    pose[:POSE_SIZE] = 1
    motion = torch.where(still & (pose > 0), torch.zeros_like(motion), motion)
    smooth = torch.where(still, torch.zeros_like(smooth), smooth)
    return motion, smooth, given.float().expand(-1, length, -1)


def train_step(network: MotionGenerator, loss: MotionLoss, batch: dict[str, Tensor], p: int) -> dict[str, Tensor]:
    """Losses of one batch of windows with p frames before."""
    device = batch["motion"].device
    motion = network.normalise(batch["motion"], batch["start"]).clamp(-6, 6)
    motion, controls, given = controls_of(motion, p)
    previous, clean = motion[:, :p], motion[:, p:]
    previous = previous + 0.12 * torch.rand(len(motion), 1, 1, device=device) * torch.randn_like(previous) * (p > 1)
    time = torch.rand(len(motion), device=device) ** 1.5  # the beginning decides what is said; the end only polishes
    time = torch.where(torch.rand(len(motion), device=device) < 0.25, torch.zeros_like(time), time)
    deaf = batch["deaf"] | (torch.rand(len(motion), device=device) < 0.12)
    noisy = samplers.interpolate(clean, torch.randn_like(clean), time)
    estimate = network(
        noisy, time, network.encode_speech(batch["speech"]), batch["start"], previous, controls, given, deaf
    )
    place, velocity = loss(estimate, clean, batch["good"][:, p:].float())
    return {"place": place, "velocity": velocity}


class GeneratorObjective(torch.nn.Module):
    """Network and loss as one module, for DistributedDataParallel; of a network with `lips`, those."""

    def __init__(self, network: MotionGenerator, loss: MotionLoss) -> None:
        super().__init__()
        self.network, self.loss = network, loss

    def forward(self, batch: dict[str, Tensor], p: int) -> dict[str, Tensor]:
        """Losses of one batch of windows with p frames before; their sum is to be minimised."""
        step = train_step if self.network.lips is None else lips_step
        return step(self.network, self.loss, batch, p)


@torch.no_grad()
def openings(clip: MotionClip, codes: Tensor, space: Space) -> np.ndarray:
    """Lip opening of codes [T,20] on this clip's own neutral face."""
    shape = clip.neutral + np.einsum("tk,knc->tnc", codes[:, POSE_SIZE:].numpy(), space.directions)
    return lip_opening(shape)


@torch.no_grad()
def validate(
    network: MotionGenerator,
    features: SpeechFeatures,
    clips: list[MotionClip],
    space: Space,
    wishes: SamplingParams,
    samples: int = 2,
) -> dict[str, float]:
    """Scores of single samples on clips of real people who speak in the picture, from codes, without pictures.

    correlation, of the lip opening at zero lag; spread, its deviation over the true one's; shuffled, the correlation
    with somebody else's clip; silence, its deviation in digital silence after a second, over that in speech.
    """
    network.eval()
    scores: dict[str, list[float]] = {"correlation": [], "spread": [], "shuffled": [], "silence": []}
    heard = [clip for clip in clips if clip.speaks and clip.row["generated"] == "no"]
    for number, clip in enumerate(heard):
        speech = features(normalise_level(torch.from_numpy(clip.sound)))[None]
        start = torch.from_numpy(clip.codes[:1])
        other = heard[(number + 1) % len(heard)]
        quiet = features(torch.zeros(3 * SAMPLE_RATE))[None]
        for seed in range(samples):
            made = openings(
                clip, generate_motion(network, speech, start, torch.Generator().manual_seed(seed), wishes), space
            )
            scores["correlation"].append(_pearson(made, clip.lips))
            scores["spread"].append(made.std() / clip.lips.std())
            n = min(len(made), len(other.lips))
            scores["shuffled"].append(_pearson(made[:n], other.lips[:n]))
            rest = openings(
                clip, generate_motion(network, quiet, start, torch.Generator().manual_seed(seed), wishes), space
            )
            scores["silence"].append(rest[25:].std() / made.std())
    network.train()
    return {name: float(np.mean(values)) for name, values in scores.items()}


@torch.no_grad()
def measure_sync(network: MotionGenerator, features: SpeechFeatures, clips: list[MotionClip], space: Space) -> dict:
    """How late each clip's sound is, judged by a network that learned from all of them: id -> (frames, correlation).

    Lips of the network's single-step estimate against the labels' at lags of up to 7 frames; the peak by a parabola.
    """
    network.eval()
    found = {}
    for clip in (clip for clip in clips if clip.speaks):
        speech = features(normalise_level(torch.from_numpy(clip.sound)))[None]
        wishes = SamplingParams(steps=1, guidance=1.0, temperature=0.0)
        made = generate_motion(
            network, speech, torch.from_numpy(clip.codes[:1]), torch.Generator().manual_seed(0), wishes
        )
        lips, n = openings(clip, made, space), len(clip.lips)
        curve = [_pearson(lips[max(0, k) : n + min(0, k)], clip.lips[max(0, -k) : n - max(0, k)]) for k in range(-8, 9)]
        best = 1 + int(np.argmax(curve[1:-1]))
        low, top, high = curve[best - 1 : best + 2]
        part = 0.5 * (low - high) / min(low - 2 * top + high, -1e-6)
        found[clip.row["id"]] = (round(best - 8 + float(np.clip(part, -0.5, 0.5)), 2), round(top, 3))
    network.train()
    return found


def apply_sync(found: dict, clips: list[MotionClip]) -> None:
    """Shift the sound of clips that are clearly late or early; sound that fits nowhere teaches no speech."""
    for clip in clips:
        late, correlation = found.get(clip.row["id"], (0.0, 1.0))
        clip.unrelated = clip.speaks and correlation < 0.2
        if correlation > 0.35 and 0.6 <= abs(late) <= 6:
            clip.shift(late)


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 1e-6 and b.std() > 1e-6 else 0.0


def _averaged(run: Run, config: GeneratorConfig) -> MotionGenerator:
    average = MotionGenerator(config)
    average.load_state_dict({name.split(".", 1)[1]: tensor for name, tensor in run.average.items()})
    return average


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Train the motion generator.", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--features", default="runs/features", help="folder made by scripts.extract_features")
    parser.add_argument(
        "--run", default="runs/generator", help="folder for checkpoints, weights and logs; continues if it has some"
    )
    parser.add_argument("--start", help="run folder, or weights, whose network to begin with")
    parser.add_argument(
        "--only-lips", action="store_true", help="second part: the regression from speech to lips, beside --start"
    )
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=32, help="windows at once in one process")
    parser.add_argument("--accumulate", type=int, default=1, help="batches whose gradients make one step")
    parser.add_argument(
        "--rate", type=float, default=6e-4, help="highest learning rate; falls to a hundredth along a cosine"
    )
    parser.add_argument("--width", type=int, default=GeneratorConfig.width)
    parser.add_argument("--layers", type=int, default=GeneratorConfig.layers)
    parser.add_argument("--dropout", type=float, default=GeneratorConfig.dropout)
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="bfloat16", help="of the network's products in training"
    )
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it to torch")
    parser.add_argument("--validate-every", type=int, default=500, help="steps between scores on val; 0 never")
    parser.add_argument("--sync-at", type=int, default=400, help="step at which late sound is found; 0 never")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.only_lips and not options.start:
        parser.error("--only-lips came without --start; name the run, or the weights, of the network it stands beside")
    if options.threads:
        torch.set_num_threads(options.threads)
    engine = Engine(options.device)
    seed_all(options.seed)

    clips, held_out = load_motion(options.features, "train"), load_motion(options.features, "val")
    space = measure(options.features, clips)
    speech = SpeechConfig()
    features = SpeechFeatures(**to_dict(speech))
    config = GeneratorConfig(
        speech_size=features.size,
        width=options.width,
        layers=options.layers,
        lips_width=LIPS_WIDTH if options.only_lips else 0,
        dropout=options.dropout,
        motion_mean=tuple(space.mean.tolist()),
        motion_std=tuple(space.std.tolist()),
        blink=tuple(map(tuple, blink_course(clips, space.directions).round(5).tolist())),
    )
    network, loss = MotionGenerator(config), MotionLoss(space)
    network.spoken.copy_(torch.from_numpy(space.spoken_normalised))
    objective = GeneratorObjective(network, loss).to(engine.device)
    if options.start:
        load_module(network, options.start, "generator", new="lips")
    if options.only_lips:
        network.requires_grad_(False).lips.requires_grad_(True)
    optimizer = torch.optim.AdamW(
        (p for p in network.parameters() if p.requires_grad), options.rate, betas=(0.9, 0.98), weight_decay=0.03
    )
    resolved = {"generator": to_dict(config), "speech": to_dict(speech), **vars(options)}
    windows = options.batch * options.accumulate * engine.world
    run = Run(options.run, resolved, {"generator": network}, optimizer, options.steps, windows, main=engine.main)
    run.resume()
    sync = Path(options.run) / "sync.json"
    if sync.is_file():
        apply_sync(json.loads(sync.read_text()), clips)
    examples = MotionExamples(clips, features, space.spoken, options.seed)
    reduced = torch.autocast(engine.device.type, torch.bfloat16, enabled=options.dtype == "bfloat16")
    objective.train()
    wrapped = engine.prepare(objective)
    for step in run.steps():
        rng = np.random.default_rng((options.seed, step))
        p, n = lips_window(rng) if options.only_lips else shape_of_window(rng, config)
        warm, done = min(1.0, (step + 1) / 200), step / options.steps
        for group in optimizer.param_groups:
            group["lr"] = options.rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
        optimizer.zero_grad()
        numbers: dict[str, float] = {}
        for part in (parts := engine.parts(options.accumulate)):
            examples.reseed(engine.seed(options.seed, step, part))
            batch = {name: value.to(engine.device) for name, value in examples.batch(options.batch, p, n).items()}
            with engine.held(wrapped, part == parts[-1]):
                with reduced:
                    losses = wrapped(batch, p)
                (sum(losses.values()) / options.accumulate).backward()
            for name, value in losses.items():
                numbers[name] = numbers.get(name, 0.0) + value.item() / options.accumulate
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        run.log(**engine.means(numbers))
        if step + 1 == options.sync_at:
            if engine.main:
                sync.write_text(json.dumps(measure_sync(_averaged(run, config), features, clips, space)))
                print("sync: shifted or silenced clips by", sync, flush=True)
            engine.wait()
            apply_sync(json.loads(sync.read_text()), clips)
        run.stopping = engine.any(run.stopping)
        if not engine.main:
            continue
        if options.validate_every and (step + 1) % options.validate_every == 0 and held_out:
            scores = validate(_averaged(run, config), features, held_out, space, SamplingParams())
            run.write(**{f"val/{name}": value for name, value in scores.items()})
            print("val " + " ".join(f"{name} {value:.3f}" for name, value in scores.items()), flush=True)


if __name__ == "__main__":
    main()
