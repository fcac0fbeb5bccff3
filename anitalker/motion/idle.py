"""Motion without speech, from the prior alone: a portrait that idles, and a change from one expression to another.

Letters: T frames (25 per second), M = 20 motion numbers, z [.,M]: codes in the Gaussian space of the prior's flow.

The prior knows single codes, not sequences. So a sequence is a random walk in z, mapped through the flow to codes.
Where the flow says that a number seldom moves, a step of z moves it little; so a walk in z stays among plausible faces
where a walk in the codes would leave them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anitalker.config import FPS, POSE_SIZE, InputError, RenderOptions
from anitalker.motion.blinks import Blinks
from anitalker.motion.subspaces import MotionSubspaces, scale_motion
from anitalker.network_config import GeneratorConfig

if TYPE_CHECKING:
    from anitalker.motion.prior import MotionPrior

MAX_SECONDS = 600.0
MAX_TEMPERATURE = 1.5
# Standard deviation in z of the frames within a clip: of pose, of expression. Median over 120 training clips; over all
# clips together it is 1.
WITHIN_CLIP_STD = (0.32, 0.60)
# Memory of the walk: a second later a quarter of a deviation is left. Slower than speech, so that nobody seems to talk.
WALK_MEMORY_FRAMES = 10
SETTLING_FRAMES = 20 * WALK_MEMORY_FRAMES  # after which nothing is left of how a walk began
MAX_WALK_DEVIATIONS = 2.5  # standard deviations that the walk reaches at most
MAX_POSE_CHANGE = (0.2, 0.15, 0.12, 0.03, 0.02, 0.03)  # in the units of the pose; 0.2 radians are 11 degrees of yaw
# The prior was trained on people who talk and blink. Idle lips move less, and blinks are added separately.
IDLE_LIP_SCALE, IDLE_LID_SCALE = 0.4, 0.3
CYCLE_SECONDS = 4.0  # approximate time from one expression to the other and back


def check_length(seconds: float, temperature: float = 1.0) -> int:
    """The number of frames; InputError for a length or temperature outside the allowed range, or NaN."""
    if not 1 / FPS <= seconds <= MAX_SECONDS:
        raise InputError(f"seconds is {seconds}; allowed is {1 / FPS:g} to {MAX_SECONDS:g}")
    if not 0 <= temperature <= MAX_TEMPERATURE:
        raise InputError(f"temperature is {temperature}; allowed is 0 (still) to {MAX_TEMPERATURE:g}")
    return round(seconds * FPS)


def smooth_random_walk(frames: int, std: Tensor, rng: torch.Generator, loop: bool = False) -> Tensor:
    """A smooth Gaussian walk [T,M] about 0 with standard deviation `std` [M]; it starts at 0, at rest.

    loop: its last frame leads over to the first, which is anywhere: the noise repeats until the walk does.

    An Ornstein-Uhlenbeck process of second order (both poles at a): x_t = 2 a x_(t-1) - a^2 x_(t-2) + noise. Unlike a
    first-order process its velocity is continuous, so it does not tremble. Its variance is (1 + a^2) / (1 - a^2)^3
    times the noise's. Softly limited to MAX_WALK_DEVIATIONS times `std`.
    """
    a = math.exp(-1 / WALK_MEMORY_FRAMES)
    noise = torch.randn(frames, len(std), generator=rng) * math.sqrt((1 - a * a) ** 3 / (1 + a * a))
    rounds = 1 + math.ceil(SETTLING_FRAMES / frames) if loop else 1
    before = last = torch.zeros(len(std))
    steps = [last]
    for innovation in noise.repeat(rounds, 1)[1:]:
        before, last = last, 2 * a * last - a * a * before + innovation
        steps.append(last)
    path = torch.stack(steps)[-frames:]
    return MAX_WALK_DEVIATIONS * torch.tanh(path / MAX_WALK_DEVIATIONS).to(std) * std


@torch.no_grad()
def sample_idle_motion(
    prior: MotionPrior,
    start: Tensor,
    frames: int,
    rng: torch.Generator,
    temperature: float = 1.0,
    loop: bool = False,
) -> Tensor:
    """Idle motion [T,M] of a portrait with code `start` [1,M]; frame 0 is `start`. rng is a CPU generator.

    loop: the last frame leads over to the first, which is then any of them.

    Frames of one clip scatter by s = WITHIN_CLIP_STD about the clip's mean, and means scatter by sqrt(1 - s^2); so
    given one frame z0, the expected mean is (1 - s^2) z0. The walk begins at z0, drifts to that mean, and deviates from
    it by s times `temperature`. For an unusual portrait the flow may be steep, so changes of the pose are limited to
    MAX_POSE_CHANGE.
    """
    std = torch.full_like(start[0], WITHIN_CLIP_STD[1])
    std[:POSE_SIZE] = WITHIN_CLIP_STD[0]
    std = temperature * std
    z = prior.to_latent(start)
    drift = (
        torch.ones(1, 1)
        if loop
        else _cosine_ease((torch.arange(frames) / (4 * WALK_MEMORY_FRAMES)).clamp(max=1))[:, None]
    )
    walk = z - drift * std.square() * z + smooth_random_walk(frames, std, rng, loop)
    change = prior.from_latent(walk) - prior.from_latent(z)
    limit = torch.tensor(MAX_POSE_CHANGE)
    change[:, :POSE_SIZE] = limit * torch.tanh(change[:, :POSE_SIZE] / limit)
    return start + change


def idle_portrait(
    prior: MotionPrior,
    start: Tensor,
    frames: int,
    rng: torch.Generator,
    temperature: float,
    subspaces: MotionSubspaces,
    options: RenderOptions,
    blink_config: GeneratorConfig,
    loop: bool = False,
) -> Tensor:
    """Idle motion [T,M] of a portrait with code `start` [1,M], with calmer lips and lids and with blinks.

    loop: as in `sample_idle_motion`; InputError where options have a timeline. options.lips, head and blink scale it
    further. blink_config holds the course of a blink. rng is a CPU generator.
    """
    motion = sample_idle_motion(prior, start.cpu(), frames, rng, temperature, loop).to(start)
    calmer = replace(options, lips=IDLE_LIP_SCALE * options.lips, blink=IDLE_LID_SCALE * options.blink)
    motion = scale_motion(motion, start, subspaces, calmer)
    if loop and options.timeline:
        raise InputError("loop came with a timeline, which ends elsewhere than it begins; give one of them")
    blinks = Blinks(blink_config, rng, motion.device)
    return motion + options.blink * (blinks.loop(frames) if loop else blinks(0, frames)[0])


@torch.no_grad()
def interpolate_expressions(
    prior: MotionPrior | None, start: Tensor, first: Tensor, second: Tensor, frames: int
) -> Tensor:
    """From the expression of code `first` [1,M] to that of `second` and back -> [T,M], in the pose of `start` [1,M].

    The path is a straight line in z, which stays among likely faces; without a prior it is a straight line in the
    codes. Both ends are reached up to rounding, motion rests at both, and the last frame leads over to the first.
    """
    ends = [torch.cat([start[:, :POSE_SIZE], code[:, POSE_SIZE:]], 1) for code in (first, second)]
    cycles = max(1, round(frames / (CYCLE_SECONDS * FPS)))
    weight = _cosine_ease(torch.arange(frames) * (2 * cycles / frames))[:, None]
    if prior is None:
        return ends[0] + weight * (ends[1] - ends[0])
    z = [prior.to_latent(code) for code in ends]
    motion = prior.from_latent(z[0] + weight * (z[1] - z[0]))
    return torch.cat([start[:, :POSE_SIZE].expand(frames, -1), motion[:, POSE_SIZE:]], 1)


def _cosine_ease(phase: Tensor) -> Tensor:
    """Phase 0..1 -> weight 0..1 with zero slope at both ends; phase 2 is back at weight 0."""
    return (1 - torch.cos(math.pi * phase)) / 2
