"""Motion out of the prior alone: a portrait that idles, and one expression that turns into another.

Letters: T frames (25 per second), M = 20 motion numbers, z [.,M] codes in the Gaussian space of the prior's flow.

The prior knows single codes, not courses. A course is a walk in z, pulled through the flow: where the flow says that a
number seldom moves, a step of z moves it little, so a walk in z stays among faces where one of codes would leave them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anitalker.config import FPS, POSE_SIZE, GeneratorConfig, InputError, RenderOptions
from anitalker.motion.blinks import Blinks
from anitalker.motion.subspaces import MotionSubspaces, scale_motion

if TYPE_CHECKING:
    from anitalker.motion.prior import MotionPrior

LONGEST = 600.0  # seconds
WARMEST = 1.5  # temperature
# Deviation of a clip's frames in z, median over 120 clips of train: of pose, of expression. All clips together: 1.
WITHIN = (0.32, 0.60)
SLOW = 10  # frames in which the walk forgets: a second later a quarter is left. Slower than speech: nobody talks
MOST = 2.5  # deviations that the walk goes at most
REACH = (0.2, 0.15, 0.12, 0.03, 0.02, 0.03)  # how far the pose strays at most, in its own units: 11 degrees of yaw
# Real clips are of people who talk and blink. Who idles does not talk, and blinks come by themselves.
LIPS, LIDS = 0.4, 0.3
SWING = 4.0  # seconds, about, from one expression to the other and back


def check_length(seconds: float, temperature: float = 1.0) -> int:
    """The number of frames; InputError for a length or temperature that is not allowed, NaN too."""
    if not 1 / FPS <= seconds <= LONGEST:
        raise InputError(f"seconds is {seconds}; allowed is {1 / FPS:g} to {LONGEST:g}")
    if not 0 <= temperature <= WARMEST:
        raise InputError(f"temperature is {temperature}; allowed is 0 (still) to {WARMEST:g}")
    return round(seconds * FPS)


def walk(frames: int, spread: Tensor, rng: torch.Generator) -> Tensor:
    """A smooth Gaussian walk about 0 that begins there at rest: [T,M], deviation `spread` [M], at most MOST of it.

    An Ornstein-Uhlenbeck process of second order (both poles at a): x_t = 2 a x_(t-1) - a^2 x_(t-2) + noise. It has a
    speed, so it does not tremble as that of first order does. Its variance is (1 + a^2) / (1 - a^2)^3 of the noise's.
    """
    a = math.exp(-1 / SLOW)
    noise = torch.randn(frames, len(spread), generator=rng) * math.sqrt((1 - a * a) ** 3 / (1 + a * a))
    before = last = torch.zeros(len(spread))
    made = [last]
    for step in noise[1:]:
        before, last = last, 2 * a * last - a * a * before + step
        made.append(last)
    return MOST * torch.tanh(torch.stack(made)[:frames] / MOST).to(spread) * spread


@torch.no_grad()
def idle(prior: MotionPrior, start: Tensor, frames: int, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
    """Motion [T,M] of a portrait with code `start` [1,M] that nobody asks for anything; frame 0 is `start`.

    Frames of one clip scatter by s = WITHIN about a mean that scatters by sqrt(1 - s^2): seen one frame z0, the mean is
    expected at (1 - s^2) z0. The walk begins at z0 and strays by s times `temperature` about that mean. A portrait that
    is itself unusual may make the flow steep, so the pose is held within REACH.
    """
    spread = torch.full_like(start[0], WITHIN[1])
    spread[:POSE_SIZE] = WITHIN[0]
    spread = temperature * spread
    z = prior.to_latent(start)
    drift = _ease((torch.arange(frames) / (4 * SLOW)).clamp(max=1))[:, None]
    way = prior.from_latent(z - drift * spread.square() * z + walk(frames, spread, rng)) - prior.from_latent(z)
    reach = torch.tensor(REACH)
    way[:, :POSE_SIZE] = reach * torch.tanh(way[:, :POSE_SIZE] / reach)
    return start + way


def idle_face(
    prior: MotionPrior,
    start: Tensor,
    frames: int,
    rng: torch.Generator,
    temperature: float,
    groups: MotionSubspaces,
    options: RenderOptions,
    blinks: GeneratorConfig,
) -> Tensor:
    """`idle` of a portrait with code `start` [1,M], lips and lids calmer than those of who talks, with blinks -> [T,M].

    options.lips, head and blink scale it further; blinks: the config that holds their course. CPU generator.
    """
    made = idle(prior, start.cpu(), frames, rng, temperature).to(start)
    calm = replace(options, lips=LIPS * options.lips, blink=LIDS * options.blink)
    made = scale_motion(made, start, groups, calm)
    return made + options.blink * Blinks(blinks, rng, made.device)(0, frames)[0]


@torch.no_grad()
def between(prior: MotionPrior | None, start: Tensor, first: Tensor, second: Tensor, frames: int) -> Tensor:
    """From the expression of code `first` [1,M] to that of `second` and back -> [T,M] under the pose of `start` [1,M].

    The way is straight in z, where every place is as likely as its distance from the middle says; without a prior it is
    straight in the codes. Both ends are met within rounding; the course rests at both, and its end leads to its begin.
    """
    ends = [torch.cat([start[:, :POSE_SIZE], one[:, POSE_SIZE:]], 1) for one in (first, second)]
    rounds = max(1, round(frames / (SWING * FPS)))
    part = _ease(torch.arange(frames) * (2 * rounds / frames))[:, None]
    if prior is None:
        return ends[0] + part * (ends[1] - ends[0])
    z = [prior.to_latent(one) for one in ends]
    made = prior.from_latent(z[0] + part * (z[1] - z[0]))
    return torch.cat([start[:, :POSE_SIZE].expand(frames, -1), made[:, POSE_SIZE:]], 1)


def _ease(part: Tensor) -> Tensor:
    """0..1 -> 0..1, at rest at both ends; at 2 it is back at 0."""
    return (1 - torch.cos(math.pi * part)) / 2
