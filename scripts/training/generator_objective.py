"""What the motion generator learns: flow matching of motion under speech and controls, and a regression of the lips."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from anitalker.config import POSE_SIZE, GeneratorConfig
from anitalker.faces.landmarks import LIPS
from anitalker.motion import samplers
from anitalker.motion.generator import CONTROL_INDICES, MotionGenerator
from scripts.training.motion_statistics import Space

LIPS_NOISE = 0.1  # added to the features that the regression hears, whose spread is about one


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


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of [B,n] under weights [B,n]."""
    return (values * weight).sum() / weight.sum().clamp(min=1)


def draw_window(rng: np.random.Generator, config: GeneratorConfig) -> tuple[int, int]:
    """(p, n): frames before and frames to make. Any n, so that look-ahead may be short; p = 1 is the portrait alone.

    Of a network with lips: two frames before, so that nothing is changed to begin at a portrait.
    """
    if config.lips_width:
        return 2, int(rng.integers(30, 110))
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
    """Network and losses as one module, for DistributedDataParallel; of a network with `lips`, those alone learn."""

    def __init__(self, network: MotionGenerator, loss: MotionLoss, dtype: str = "float32") -> None:
        super().__init__()
        self.network, self.loss, self.bf16 = network, loss, dtype == "bfloat16"

    def forward(self, batch: dict[str, Tensor], step: int) -> tuple[dict[str, Tensor], dict]:
        """Windows as `MotionExamples.batch` makes them -> losses with their `total`, and nothing else."""
        with torch.autocast(batch["motion"].device.type, torch.bfloat16, enabled=self.bf16):
            losses = self._motion(batch) if self.network.lips is None else self._lips(batch)
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

    def _lips(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The regression from speech to expression, the frames before included; only speakers who are seen count."""
        truth = self.network.normalise(batch["motion"], batch["start"]).clamp(-6, 6)
        speech = batch["speech"] + LIPS_NOISE * torch.randn_like(batch["speech"])
        error = self.network.lips(speech).float() - truth
        error = torch.cat([torch.zeros_like(error[..., :POSE_SIZE]), error[..., POSE_SIZE:]], -1)
        good = batch["good"].float() * (~batch["deaf"]).float()[:, None]
        return {"lips": weighted_mean(self.loss.terms(error), good)}
