"""Long speech, window by window: the motion transformer over speech that may still be arriving.

Letters: n frames to make, p frames already made, S speech features, M motion numbers, C controls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.config import LITE_GUIDANCE, LITE_STEPS, POSE_SIZE
from anitalker.motion import samplers
from anitalker.motion.blinks import Blinks
from anitalker.motion.generator import CONTROL_INDICES, CONTROLS, MotionGenerator
from anitalker.motion.lip_policy import EASE_IN_FRAMES, amplify, ease_in, guided_mean
from anitalker.runtime.smoothstep import smoothstep

HEAD_NOISE_CORRELATION = 0.9  # of the head's noise from frame to frame: heads sway and do not tremble
HEAD_NOISE_STD = 0.6
HEAD_SMOOTHING_FRAMES = 2  # standard deviation (0.08 s) of the Gaussian over the head's course
MAX_SWAY = 0.02  # radians (1.1 degrees), log scale or crop widths: how far a head strays from a constant control


@dataclass(frozen=True)
class SamplingParams:
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
        wishes: SamplingParams = SamplingParams(),
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
        part = smoothstep((torch.arange(n, device=made.device) + 1) / (n + 1))[:, None]
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
        heard = network.encode_speech(self.speech[:, : p + n])
        controls, given = self._controls(p, n)
        ways = 1 if wishes.guidance == 1 else 2  # with the speech, and as if there were none
        double = [x.expand(ways, *x.shape[1:]) for x in (heard, self.start, self.previous, controls, given)]
        deaf = torch.tensor([False, True], device=heard.device)[:ways]

        means = []  # of all motions that fit, and of those that fit no speech: the very first estimates

        def estimate(x: Tensor, time: Tensor) -> Tensor:
            both = network(x.expand(ways, -1, -1), time.expand(ways), *double, deaf=deaf)
            means.append(both)
            return samplers.guide(both[:1], both[-1:], wishes.guidance)

        noise = self._noise(n)
        noise = noise - (1 - wishes.temperature) * noise @ network.spoken
        made = samplers.sample(estimate, noise, wishes.steps)
        # The mean of all motions that fit is nearer to the true lips than any of them, but flat: hence guidance.
        regression = None if network.lips is None else network.lips(self.speech[:, : p + n])[:, p:]
        mean = guided_mean(means[0][:1], regression, means[0][-1:], wishes.guidance)
        made = made + (1 - wishes.temperature) * (mean - made) @ network.spoken
        made = amplify(made, -network.mean / network.std, network.spoken)
        return self._obey(self._leave(self._steady(made), n), p, n)

    def _noise(self, n: int) -> Tensor:
        """Noise of the next n frames [1,n,M]: white for the face, slow for the head (a first-order autoregression)."""
        while self.noise.shape[1] < n:
            fresh = torch.randn(1, 1, self.start.shape[-1], generator=self.rng).to(self.start)
            innovation = (1 - HEAD_NOISE_CORRELATION**2) ** 0.5 * fresh[..., :POSE_SIZE]
            self.calm = HEAD_NOISE_CORRELATION * self.calm + innovation
            self.noise = torch.cat([self.noise, torch.cat([HEAD_NOISE_STD * self.calm, fresh[..., POSE_SIZE:]], -1)], 1)
        noise, self.noise = self.noise[:, :n], self.noise[:, self.window - self.lookahead :]
        return noise

    def _steady(self, made: Tensor) -> Tensor:
        """Take the tremble out of the head's course: labels of pose have some, and the network learned it."""
        course = torch.cat([self.previous, made], 1)[..., :POSE_SIZE].transpose(1, 2)
        reach = 3 * HEAD_SMOOTHING_FRAMES
        offsets = torch.arange(-reach, reach + 1, device=made.device, dtype=made.dtype)
        kernel = torch.exp(-0.5 * (offsets / HEAD_SMOOTHING_FRAMES) ** 2)
        kernel = (kernel / kernel.sum()).expand(POSE_SIZE, 1, -1)
        smooth = F.conv1d(F.pad(course, (reach, reach), "replicate"), kernel, groups=POSE_SIZE)
        return torch.cat([smooth[..., -made.shape[1] :].transpose(1, 2), made[..., POSE_SIZE:]], -1)

    def _leave(self, made: Tensor, n: int) -> Tensor:
        """Ease out of the portrait's code in the first LEAVE frames. The network was taught to: this makes it sure."""
        if self.made >= EASE_IN_FRAMES:
            return made
        part = ease_in(torch.arange(self.made, self.made + n, device=made.device))[:, None]
        start = self.network.normalise(self.start[:, None], self.start)
        return start + part * (made - start)

    def _controls(self, p: int, n: int) -> tuple[Tensor, Tensor]:
        """Controls and given [1,p+n,C] of the frames from the oldest previous one on, in normalised units."""
        wishes, start = self.wishes, self.start[0]
        frames = torch.arange(self.made - p, self.made + n, device=start.device)
        controls, given = start.new_zeros(p + n, len(CONTROLS)), start.new_zeros(p + n, len(CONTROLS))
        for i, (name, place) in enumerate(zip(CONTROLS, CONTROL_INDICES, strict=True)):
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
        come = smoothstep(now / self.network.config.previous)
        zero = -self.network.mean / self.network.std  # the portrait's own pose
        made = made.clone()
        for i, place in enumerate(CONTROL_INDICES):
            if given[0, -1, i]:
                sway = (made[0, :, place] - controls[0, p:, i] - zero[place]) * self.network.std[place]
                sway = sway.clamp(-MAX_SWAY, MAX_SWAY) / self.network.std[place] * alive
                made[0, :, place] = zero[place] + come * controls[0, p:, i] + sway
        if self.wishes.still:
            made[..., 4] = zero[4]
        return made


def _draw_seed(rng: torch.Generator) -> int:
    return int(torch.randint(2**62, (1,), generator=rng))


def generate_motion(
    network: MotionGenerator,
    speech: Tensor,
    start: Tensor,
    rng: torch.Generator,
    wishes: SamplingParams = SamplingParams(),
) -> Tensor:
    """Speech features [1,T,S] and the portrait's code [1,M] -> motion [T,M]; motion[0] is the portrait's code.

    Any length, window by window, time linear in T; rng is a CPU generator.
    """
    return MotionStream(network, start, rng, wishes).push(speech, last=True)[0]
