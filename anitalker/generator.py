"""Motion transformer: speech, the portrait's own motion and the frames already made -> the clean motion under noise.

Letters: B clips, n frames to make, p frames already made, L = p + n frames of speech, S speech features, M motion
numbers (POSE_SIZE of pose, the rest expression), W width of the network, C = 5 controls (yaw, pitch, roll, scale,
location).

What is unusual:
* Inside the network motion is relative: pose minus the portrait's pose, so an off-centre or turned portrait keeps its
  place; expression stays absolute, 0 being the neutral face. `normalise` and `denormalise` are the two ends.
* The network sees exactly the speech that is known, p frames behind and n ahead, and was trained with windows of any
  length. Look-ahead is limited by cutting the window, which no stack of layers can leak around (an attention mask per
  layer would let it grow with every layer); so the same weights stream.
* It estimates the clean motion, not the velocity (see diffusion.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import diffusion
from .blinks import Blinks
from .config import LITE_GUIDANCE, LITE_STEPS, POSE_SIZE, GeneratorConfig
from .lips import LipRegressor
from .transformer import Block, SpeechFront, rotary_table

CONTROLS = ("yaw", "pitch", "roll", "scale", "location")
CONTROLLED = (0, 1, 2, 5, 3)  # their places in the motion code
LEAVE = 9  # frames (0.36 s) in which motion leaves the portrait's own code
CALM = 0.9  # correlation of the head's noise from frame to frame, so that heads sway and do not tremble
HEAD_NOISE = 0.6  # its deviation
WIDER = 1.6  # times what the lips do: the mean of what fits is flatter than life, and mouths are drawn shallower yet
LIPS_SHARE = 0.5  # of the regression from speech alone in the mean of the lips
STEADY = 2  # frames (0.08 s), deviation of the Gaussian over the head's course
SWAY = 0.02  # radians (1.1 degrees), log scale or crop widths: how far a head strays from a constant control


class MotionGenerator(nn.Module):
    """The network. Its sizes and the normalisation of its motion stand in GeneratorConfig."""

    def __init__(self, config: GeneratorConfig = GeneratorConfig()) -> None:
        super().__init__()
        self.config = config
        width, size = config.width, config.motion_size
        self.speech = SpeechFront(config.speech_size, width, config.speech_layers, config.dropout)
        self.no_speech = nn.Parameter(torch.zeros(width))
        self.into = nn.Linear(size + 1 + 2 * len(CONTROLS), width)
        self.time = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        self.start = nn.Sequential(nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(width, config.heads, config.dropout) for _ in range(config.layers))
        self.set = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, size)
        for layer in (self.set, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        mean, std = config.motion_mean or (0.0,) * size, config.motion_std or (1.0,) * size
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32), persistent=False)
        self.lips = LipRegressor(config.speech_size, size, config.lips_width) if config.lips_width else None
        # Projection onto what speech decides (lips, jaw, cheeks) in normalised motion; measured by the training.
        self.register_buffer("spoken", torch.zeros(size, size))

    def normalise(self, motion: Tensor, start: Tensor) -> Tensor:
        """Codes [B,L,M] of a portrait with code `start` [B,M] -> what the network sees [B,L,M]."""
        return (motion - _pose_of(start) - self.mean) / self.std

    def denormalise(self, x: Tensor, start: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return x * self.std + self.mean + _pose_of(start)

    def hear(self, speech: Tensor) -> Tensor:
        """Speech features [B,L,S] -> [B,L,W]; once per window, whatever the number of sampler steps."""
        return self.speech(speech)

    def forward(
        self,
        noisy: Tensor,
        time: Tensor,
        heard: Tensor,
        start: Tensor,
        previous: Tensor,
        controls: Tensor,
        given: Tensor,
        deaf: Tensor | None = None,
    ) -> Tensor:
        """Estimate the clean motion [B,n,M] (normalised, as all motion here).

        noisy [B,n,M]; time [B] in 0..1; heard [B,L,W] from `hear`; start [B,M] the portrait's code as it is; previous
        [B,p,M]; controls [B,L,C] in units of the normalised motion, obeyed where given [B,L,C] is 1; deaf [B] bool:
        ignore the speech.
        """
        x = self.enter(noisy, heard, previous, controls, given, deaf)
        condition = F.silu(self.time(_waves(time)) + self.start((start - self.mean) / self.std))
        rotary = rotary_table(x.shape[1], self.config.width // self.config.heads, x.device)
        for block in self.blocks:
            x = block(x, condition, rotary)
        shift, scale = self.set(condition)[:, None].chunk(2, -1)
        x = F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift
        return self.out(x[:, previous.shape[1] :])

    def enter(
        self, noisy: Tensor, heard: Tensor, previous: Tensor, controls: Tensor, given: Tensor, deaf: Tensor | None
    ) -> Tensor:
        """What the blocks begin with [B,L,W]; arguments as `forward`'s."""
        if deaf is not None:
            heard = torch.where(deaf[:, None, None], self.no_speech, heard)
        known = torch.cat([torch.ones_like(previous[..., :1]), torch.zeros_like(noisy[..., :1])], 1)
        return self.into(torch.cat([torch.cat([previous, noisy], 1), known, controls * given, given], -1)) + heard


def _pose_of(start: Tensor) -> Tensor:
    pose = start[:, None].clone()
    pose[..., POSE_SIZE:] = 0
    return pose


def _waves(time: Tensor) -> Tensor:
    """Time [B] in 0..1 -> sines and cosines [B,64]."""
    angles = time[:, None] * torch.exp(torch.linspace(0, math.log(200), 32, device=time.device))
    return torch.cat([angles.sin(), angles.cos()], -1)


@dataclass(frozen=True)
class Wishes:
    """What is asked of a motion; see RenderOptions for meaning, units and defaults.

    temperature: how far what speech decides (lips, jaw) is from the mean of all motions that fit; 1 is a sample, 0 the
    mean; head and lids are always samples. pose [T,3] degrees: yaw, pitch, roll of every frame. Angles are absolute,
    scale and location relative to the portrait.
    """

    steps: int = LITE_STEPS
    guidance: float = LITE_GUIDANCE
    temperature: float = 0.0
    yaw: float | None = None
    pitch: float | None = None
    roll: float | None = None
    scale: float | None = None
    location: float | None = None
    pose: Tensor | None = None
    still: bool = False


class MotionStream:
    """Motion frame by frame, from speech that arrives in pieces of any size.

    network; start [1,M] the portrait's code; rng a CPU generator, so that a seed gives the same motion on every device;
    wishes; window frames made at once and lookahead frames of speech that must be known behind a frame, both at most as
    trained (None: the config's). `push` returns what is ready; the first frame of all is the portrait's own code.
    """

    def __init__(
        self,
        network: MotionGenerator,
        start: Tensor,
        rng: torch.Generator,
        wishes: Wishes = Wishes(),
        window: int | None = None,
        lookahead: int | None = None,
    ) -> None:
        self.network, self.start, self.rng, self.wishes = network, start, rng, wishes
        self.window = window or network.config.window
        self.lookahead = network.config.lookahead if lookahead is None else lookahead
        if not 0 <= self.lookahead < self.window <= network.config.window:
            raise ValueError(
                f"window {self.window}, lookahead {self.lookahead}; 0 <= lookahead < window <= {network.config.window}"
            )
        self.speech = start.new_zeros(1, 0, network.config.speech_size)  # from the oldest previous frame on
        self.previous = start.new_zeros(1, 0, network.config.motion_size)  # normalised
        # Noise of frames made with too little look-ahead so far: they are made again from the same.
        self.noise = start.new_zeros(1, 0, network.config.motion_size)
        # The end of the last window, which the next one makes again from more speech: it begins as this, and leaves it.
        self.tail = start.new_zeros(1, 0, network.config.motion_size)
        self.calm = torch.randn(1, 1, POSE_SIZE, generator=rng).to(start)
        self.blinks = Blinks(network.config, torch.Generator().manual_seed(_draw_seed(rng)), start.device)
        self.made = 0

    @torch.no_grad()
    def push(self, speech: Tensor, last: bool = False) -> Tensor:
        """Speech features [1,t,S], the next t frames -> motion [1,k,M] that is now ready; last: all that remains."""
        self.speech = torch.cat([self.speech, speech.to(self.start)], 1)
        pieces = [self.start.new_zeros(1, 0, self.start.shape[-1])]
        if not self.made and self.speech.shape[1]:
            self._keep(self.network.normalise(self.start[:, None], self.start))
            pieces.append(self.start[:, None])
        while ready := self._ready(last):
            made = self._join(self._make(min(self.window, self.speech.shape[1] - self.previous.shape[1])))
            pieces.append(self._keep(made[:, :ready]))
            self.tail = made[:, ready:]
        return torch.cat(pieces, 1)

    def _ready(self, last: bool) -> int:
        """Frames of the next window that may leave."""
        waiting = self.speech.shape[1] - self.previous.shape[1]
        if last and waiting <= self.window:
            return waiting
        return self.window - self.lookahead if waiting >= self.window else 0

    def _join(self, made: Tensor) -> Tensor:
        """Fade from what the window before thought of its last frames to what this one makes of them."""
        n = min(self.tail.shape[1], made.shape[1])
        part = _ease((torch.arange(n, device=made.device) + 1) / (n + 1))[:, None]
        return torch.cat([self.tail[:, :n] + part * (made[:, :n] - self.tail[:, :n]), made[:, n:]], 1)

    def _keep(self, made: Tensor) -> Tensor:
        """Turn made frames (normalised) into past ones; their codes, blinks added."""
        blinks = self.blinks(self.made, made.shape[1])
        self.made += made.shape[1]
        self.previous = torch.cat([self.previous, made], 1)
        behind = max(0, self.previous.shape[1] - self.network.config.previous)
        self.previous, self.speech = self.previous[:, behind:], self.speech[:, behind:]
        return self.network.denormalise(made, self.start) + blinks

    def _make(self, n: int) -> Tensor:
        """The next n frames, normalised [1,n,M]."""
        network, wishes, p = self.network, self.wishes, self.previous.shape[1]
        heard = network.hear(self.speech[:, : p + n])
        controls, given = self._controls(p, n)
        ways = 1 if wishes.guidance == 1 else 2  # with the speech, and as if there were none
        double = [x.expand(ways, *x.shape[1:]) for x in (heard, self.start, self.previous, controls, given)]
        deaf = torch.tensor([False, True], device=heard.device)[:ways]

        means = []  # of all motions that fit, and of those that fit no speech: the very first estimates

        def estimate(x: Tensor, time: Tensor) -> Tensor:
            both = network(x.expand(ways, -1, -1), time.expand(ways), *double, deaf=deaf)
            means.append(both)
            return diffusion.guide(both[:1], both[-1:], wishes.guidance)

        noise = self._noise(n)
        noise = noise - (1 - wishes.temperature) * noise @ network.spoken
        made = diffusion.sample(estimate, noise, wishes.steps)
        # The mean of all motions that fit is nearer to the true lips than any of them, but flat: hence guidance.
        mean, deafened = means[0][:1], means[0][-1:]
        if network.lips is not None:
            mean = mean + LIPS_SHARE * (network.lips(self.speech[:, : p + n])[:, p:] - mean)
        mean = diffusion.guide(mean, deafened, wishes.guidance)
        made = made + (1 - wishes.temperature) * (mean - made) @ network.spoken
        made = made + (WIDER - 1) * (made + network.mean / network.std) @ network.spoken  # about the neutral face
        return self._obey(self._leave(self._steady(made), n), p, n)

    def _noise(self, n: int) -> Tensor:
        """Noise of the next n frames [1,n,M]: white for the face, slow for the head (a first-order autoregression)."""
        while self.noise.shape[1] < n:
            fresh = torch.randn(1, 1, self.start.shape[-1], generator=self.rng).to(self.start)
            self.calm = CALM * self.calm + (1 - CALM**2) ** 0.5 * fresh[..., :POSE_SIZE]
            self.noise = torch.cat([self.noise, torch.cat([HEAD_NOISE * self.calm, fresh[..., POSE_SIZE:]], -1)], 1)
        noise, self.noise = self.noise[:, :n], self.noise[:, self.window - self.lookahead :]
        return noise

    def _steady(self, made: Tensor) -> Tensor:
        """Take the tremble out of the head's course: labels of pose have some, and the network learned it."""
        course = torch.cat([self.previous, made], 1)[..., :POSE_SIZE].transpose(1, 2)
        reach = torch.arange(-3 * STEADY, 3 * STEADY + 1, device=made.device, dtype=made.dtype)
        kernel = torch.exp(-0.5 * (reach / STEADY) ** 2)
        kernel = (kernel / kernel.sum()).expand(POSE_SIZE, 1, -1)
        smooth = F.conv1d(F.pad(course, (3 * STEADY, 3 * STEADY), "replicate"), kernel, groups=POSE_SIZE)
        return torch.cat([smooth[..., -made.shape[1] :].transpose(1, 2), made[..., POSE_SIZE:]], -1)

    def _leave(self, made: Tensor, n: int) -> Tensor:
        """Ease out of the portrait's code in the first LEAVE frames. The network was taught to: this makes it sure."""
        if self.made >= LEAVE:
            return made
        part = _ease(torch.arange(self.made, self.made + n, device=made.device) / LEAVE)[:, None]
        start = self.network.normalise(self.start[:, None], self.start)
        return start + part * (made - start)

    def _controls(self, p: int, n: int) -> tuple[Tensor, Tensor]:
        """Controls and given [1,p+n,C] of the frames from the oldest previous one on, in normalised units."""
        wishes, start = self.wishes, self.start[0]
        frames = torch.arange(self.made - p, self.made + n, device=start.device)
        controls, given = start.new_zeros(p + n, len(CONTROLS)), start.new_zeros(p + n, len(CONTROLS))
        for i, (name, place) in enumerate(zip(CONTROLS, CONTROLLED, strict=True)):
            value = getattr(wishes, name)
            if wishes.still and value is None:
                value = torch.zeros_like(frames, dtype=start.dtype)
            elif wishes.pose is not None and i < 3:
                value = torch.deg2rad(wishes.pose.to(start)[frames.clamp(max=len(wishes.pose) - 1), i]) - start[place]
            elif value is None:
                continue
            elif i < 3:
                value = math.radians(value) - float(start[place])
            elif name == "scale":
                value = math.log(value)
            controls[:, i] = torch.as_tensor(value, device=start.device) / self.network.std[place]
            given[:, i] = 1
        return controls[None], given[None]

    def _obey(self, made: Tensor, p: int, n: int) -> Tensor:
        """Controlled numbers as asked, reached from the portrait's own within a second; `still` holds them all.

        A head that is told one angle keeps `SWAY` of its own life around it; a pose file and `still` are exact.
        """
        controls, given = self._controls(p, n)
        alive = not self.wishes.still and self.wishes.pose is None
        now = torch.arange(self.made, self.made + n, device=made.device, dtype=made.dtype)
        come = _ease(now / self.network.config.previous)
        zero = -self.network.mean / self.network.std  # the portrait's own pose
        made = made.clone()
        for i, place in enumerate(CONTROLLED):
            if given[0, -1, i]:
                sway = (made[0, :, place] - controls[0, p:, i] - zero[place]) * self.network.std[place]
                sway = sway.clamp(-SWAY, SWAY) / self.network.std[place] * alive
                made[0, :, place] = zero[place] + come * controls[0, p:, i] + sway
        if self.wishes.still:
            made[..., 4] = zero[4]
        return made


def _draw_seed(rng: torch.Generator) -> int:
    return int(torch.randint(2**62, (1,), generator=rng))


def _ease(x: Tensor) -> Tensor:
    """Smooth step from 0 at x <= 0 to 1 at x >= 1."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def generate(
    network: MotionGenerator, speech: Tensor, start: Tensor, rng: torch.Generator, wishes: Wishes = Wishes()
) -> Tensor:
    """Speech features [1,T,S] and the portrait's code [1,M] -> motion [T,M]; motion[0] is the portrait's code.

    Any length, window by window, time linear in T; rng is a CPU generator.
    """
    return MotionStream(network, start, rng, wishes).push(speech, last=True)[0]
