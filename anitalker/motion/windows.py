"""Motion for speech of any length, window by window, also while the speech is still arriving.

Letters: n frames to generate, p frames already generated, S speech features, M motion numbers, C controls.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.config import GAZE_SIZE, LITE_GUIDANCE, LITE_STEPS, POSE_SIZE, RenderOptions
from anitalker.motion import motion_files, samplers
from anitalker.motion.blinks import Blinks
from anitalker.motion.emphasis import Emphasis
from anitalker.motion.gaze import GazeCourse
from anitalker.motion.generator import CONTROL_INDICES, CONTROLS, Generator
from anitalker.motion.lip_policy import EASE_IN_FRAMES, amplify, ease_in
from anitalker.motion.manner import USUAL, Manner
from anitalker.runtime.smoothstep import smoothstep

HEAD_NOISE_CORRELATION = 0.9  # of the head's noise from one frame to the next, so that heads sway and do not tremble
HEAD_NOISE_STD = 0.6
HEAD_SMOOTHING_FRAMES = 2  # standard deviation (0.08 s) of the Gaussian filter over the head's path
MAX_SWAY = 0.02  # radians (1.1 degrees), log scale or crop widths: largest deviation of a head from a constant control


@dataclass(frozen=True)
class SamplingParams:
    """What the motion generator takes from RenderOptions, which document meaning and units.

    steps and guidance are never None here. temperature: how far what speech decides (lips, jaw) may deviate from the
    mean of all motions that fit the speech; 1 draws a sample, 0 takes the mean. Head and lids are always samples.
    pose [T,3] in degrees: yaw, pitch, roll of every frame; the last row is kept for longer speech. Angles are absolute;
    scale and location are relative to the portrait. manner: how the person moves. emphasis: makes what adds the energy
    of speech to head and brows, from the portrait's code and which angles are free; None: nothing does. gaze: makes the
    course of the gaze from a seed, whose numbers then follow each code; None: codes have none.
    """

    steps: int = LITE_STEPS
    guidance: float = LITE_GUIDANCE
    temperature: float = 0.0
    yaw: float | None = RenderOptions.yaw
    pitch: float | None = RenderOptions.pitch
    roll: float | None = RenderOptions.roll
    scale: float | None = RenderOptions.scale
    location: float | None = RenderOptions.location
    pose: Tensor | None = None
    still: bool = RenderOptions.still
    manner: Manner = USUAL
    emphasis: Callable[[Tensor, list[bool]], Emphasis] | None = None
    gaze: Callable[[int], GazeCourse] | None = None

    @classmethod
    def from_options(cls, options: RenderOptions, manner: Manner = USUAL) -> SamplingParams:
        """The parameters that a user's options ask for. Reads the pose file; InputError if it is not usable."""
        return cls(
            steps=LITE_STEPS if options.steps is None else options.steps,
            guidance=LITE_GUIDANCE if options.guidance is None else options.guidance,
            yaw=options.yaw,
            pitch=options.pitch,
            roll=options.roll,
            scale=options.scale,
            location=options.location,
            pose=None if options.pose is None else torch.tensor(motion_files.read_pose(options.pose)),
            still=options.still,
            manner=manner,
        )


class MotionStream:
    """Generates motion in windows of a second or more, from speech that arrives in pieces of any size.

    network: the generator; start [1,M]: the portrait's motion code; rng: a CPU
    generator, so that a seed gives the same motion on every device; params: see SamplingParams. window: frames that
    are generated at once; lookahead: frames of speech that must be known after a frame before it leaves; both at most
    what the network was trained with (None: its config's). ValueError for other values. `push` returns the frames that
    are ready; the first frame of all is the portrait's own code.
    """

    def __init__(
        self,
        network: Generator,
        start: Tensor,
        rng: torch.Generator,
        params: SamplingParams = SamplingParams(),
        window: int | None = None,
        lookahead: int | None = None,
    ) -> None:
        self.network, self.start, self.rng, self.params = network, start, rng, params
        self.window = window or network.config.window
        self.lookahead = network.config.lookahead if lookahead is None else lookahead
        if not 0 <= self.lookahead < self.window <= network.config.window:
            raise ValueError(
                f"window {self.window}, lookahead {self.lookahead}; 0 <= lookahead < window <= {network.config.window}"
            )
        self.speech = start.new_zeros(1, 0, network.config.speech_size)  # from the oldest previous frame on
        self.previous = start.new_zeros(1, 0, network.config.motion_size)  # normalised
        # Noise of the frames that were generated with too little look-ahead: they are generated again from the same.
        self.noise = start.new_zeros(1, 0, network.config.motion_size)
        # The end of the last window. The next window generates it again from more speech, and fades over from it.
        self.tail = start.new_zeros(1, 0, network.config.motion_size)
        self.head_noise = torch.randn(1, 1, POSE_SIZE, generator=rng).to(start)  # state of the autoregression
        seconds = params.manner.blink_seconds
        config = network.config if seconds is None else replace(network.config, blink_every=seconds)
        self.blinks = Blinks(config, torch.Generator().manual_seed(_draw_seed(rng)), start.device)
        free = [getattr(params, name) is None and params.pose is None and not params.still for name in CONTROLS[:3]]
        self.emphasis = None if params.emphasis is None else params.emphasis(start, free)
        self.gaze = None if params.gaze is None else params.gaze(rng.initial_seed())
        self.frame_count = 0  # frames that have left

    @torch.no_grad()
    def push(self, speech: Tensor, last: bool = False) -> Tensor:
        """Speech features [1,t,S] of the next t frames -> motion [1,k,M] that is now ready; last: all that remains."""
        self.speech = torch.cat([self.speech, speech.to(self.start)], 1)
        size = self.start.shape[-1]
        pieces = [self.start.new_zeros(1, 0, self.size)]
        if not self.frame_count and self.speech.shape[1]:
            first = self._commit(self.network.normalise(self.start[:, None], self.start))
            pieces.append(torch.cat([self.start[:, None], first[..., size:]], -1))
        while ready := self._ready_count(last):
            length = min(self.window, self.speech.shape[1] - self.previous.shape[1])
            motion = self._crossfade(self._generate_window(length))
            pieces.append(self._commit(motion[:, :ready]))
            self.tail = motion[:, ready:]
        return torch.cat(pieces, 1)

    @property
    def size(self) -> int:
        """Numbers of a frame: of its code, and of its gaze if there is any."""
        return self.start.shape[-1] + (0 if self.gaze is None else GAZE_SIZE)

    def _ready_count(self, last: bool) -> int:
        """Frames of the next window that may leave."""
        waiting = self.speech.shape[1] - self.previous.shape[1]
        if last and waiting <= self.window:
            return waiting
        return self.window - self.lookahead if waiting >= self.window else 0

    def _crossfade(self, motion: Tensor) -> Tensor:
        """Fade from the last window's version of the shared frames to this window's."""
        n = min(self.tail.shape[1], motion.shape[1])
        weight = smoothstep((torch.arange(n, device=motion.device) + 1) / (n + 1))[:, None]
        return torch.cat([self.tail[:, :n] + weight * (motion[:, :n] - self.tail[:, :n]), motion[:, n:]], 1)

    def _commit(self, motion: Tensor) -> Tensor:
        """Make generated frames (normalised) previous ones, and return their codes with blinks added, and with the
        person's rest, out of which the next window does not go on."""
        added = self.blinks(self.frame_count, motion.shape[1])
        if self.params.manner.rest is not None:
            frames = torch.arange(self.frame_count, self.frame_count + motion.shape[1], device=motion.device)
            added = added + ease_in(frames)[:, None] * self.params.manner.rest.to(added)
        codes = self.network.denormalise(motion, self.start) + added
        speech = self.speech[:, self.previous.shape[1] :][:, : motion.shape[1]]
        if self.emphasis is not None:
            codes = self.emphasis(codes, speech, self.frame_count)
        if self.gaze is not None:
            codes = torch.cat([codes, self.gaze(speech, self.frame_count)], -1)
        self.frame_count += motion.shape[1]
        self.previous = torch.cat([self.previous, motion], 1)
        excess = max(0, self.previous.shape[1] - self.network.config.previous)
        self.previous, self.speech = self.previous[:, excess:], self.speech[:, excess:]
        return codes

    def _generate_window(self, n: int) -> Tensor:
        """The next n frames, normalised [1,n,M]."""
        network, params, p = self.network, self.params, self.previous.shape[1]
        encoded_speech = network.encode_speech(self.speech[:, : p + n])
        controls, control_mask = self._controls(p, n)
        batch = 1 if params.guidance == 1 else 2  # with the speech and, for guidance, without
        inputs = (encoded_speech, self.start, self.previous, controls, control_mask)
        conditions = [x.expand(batch, *x.shape[1:]) for x in inputs]
        drop_speech = torch.tensor([False, True], device=encoded_speech.device)[:batch]

        estimates = []  # of every step; the first are the means of all motions that fit the speech, and of any speech

        def estimate(x: Tensor, time: Tensor) -> Tensor:
            both = network(x.expand(batch, -1, -1), time.expand(batch), *conditions, drop_speech=drop_speech)
            estimates.append(both)
            return samplers.guide(both[:1], both[-1:], params.guidance)

        noise = self._noise(n)
        noise = noise - (1 - params.temperature) * noise @ network.spoken
        motion = samplers.sample(estimate, noise, params.steps)
        # The mean of all motions that fit is nearer to the true lips than any sample, but too flat: hence guidance.
        if network.lips is None:
            mean = samplers.guide(estimates[0][:1], estimates[0][-1:], params.guidance)
        else:
            mean = network.lips(self.speech[:, : p + n])[:, p:]
        motion = motion + (1 - params.temperature) * (mean - motion) @ network.spoken
        motion = amplify(motion, -network.mean / network.std, network.spoken, params.manner.lips)
        return self._apply_controls(self._ease_in(self._smooth_head(motion), n), p, n)

    def _noise(self, n: int) -> Tensor:
        """Noise of the next n frames [1,n,M]: white for the face, slow for the head (first-order autoregression)."""
        while self.noise.shape[1] < n:
            fresh = torch.randn(1, 1, self.start.shape[-1], generator=self.rng).to(self.start)
            innovation = (1 - HEAD_NOISE_CORRELATION**2) ** 0.5 * fresh[..., :POSE_SIZE]
            self.head_noise = HEAD_NOISE_CORRELATION * self.head_noise + innovation
            frame = torch.cat([HEAD_NOISE_STD * self.head_noise, fresh[..., POSE_SIZE:]], -1)
            self.noise = torch.cat([self.noise, frame], 1)
        noise, self.noise = self.noise[:, :n], self.noise[:, self.window - self.lookahead :]
        return noise

    def _smooth_head(self, motion: Tensor) -> Tensor:
        """Low-pass filter the head's path: pose labels tremble a little, and the network learned that."""
        path = torch.cat([self.previous, motion], 1)[..., :POSE_SIZE].transpose(1, 2)
        radius = 3 * HEAD_SMOOTHING_FRAMES
        offsets = torch.arange(-radius, radius + 1, device=motion.device, dtype=motion.dtype)
        kernel = torch.exp(-0.5 * (offsets / HEAD_SMOOTHING_FRAMES) ** 2)
        kernel = (kernel / kernel.sum()).expand(POSE_SIZE, 1, -1)
        smooth = F.conv1d(F.pad(path, (radius, radius), "replicate"), kernel, groups=POSE_SIZE)
        return torch.cat([smooth[..., -motion.shape[1] :].transpose(1, 2), motion[..., POSE_SIZE:]], -1)

    def _ease_in(self, motion: Tensor, n: int) -> Tensor:
        """Ease out of the portrait's code in the first EASE_IN_FRAMES. The network learned to; this guarantees it."""
        if self.frame_count >= EASE_IN_FRAMES:
            return motion
        weight = ease_in(torch.arange(self.frame_count, self.frame_count + n, device=motion.device))[:, None]
        start = self.network.normalise(self.start[:, None], self.start)
        return start + weight * (motion - start)

    def _controls(self, p: int, n: int) -> tuple[Tensor, Tensor]:
        """Controls and their mask [1,p+n,C] of the frames from the oldest previous one on, in normalised units."""
        params, start = self.params, self.start[0]
        frames = torch.arange(self.frame_count - p, self.frame_count + n, device=start.device)
        controls, mask = start.new_zeros(p + n, len(CONTROLS)), start.new_zeros(p + n, len(CONTROLS))
        for i, (name, index) in enumerate(zip(CONTROLS, CONTROL_INDICES, strict=True)):
            value = getattr(params, name)
            if params.still and value is None:
                value = torch.zeros_like(frames, dtype=start.dtype)
            elif params.pose is not None and i < 3:
                value = torch.deg2rad(params.pose.to(start)[frames.clamp(max=len(params.pose) - 1), i]) - start[index]
            elif value is None:
                continue
            elif i < 3:
                value = math.radians(value) - float(start[index])
            elif name == "scale":
                value = math.log(value)
            controls[:, i] = torch.as_tensor(value, device=start.device) / self.network.std[index]
            mask[:, i] = 1
        return controls[None], mask[None]

    def _apply_controls(self, motion: Tensor, p: int, n: int) -> Tensor:
        """Set controlled numbers to their values, reached from the portrait's own within a second.

        A head that is held at a constant angle still sways by up to MAX_SWAY. A pose file is followed exactly, and
        `still` holds the whole pose exactly.
        """
        controls, mask = self._controls(p, n)
        sways = not self.params.still and self.params.pose is None
        frames = torch.arange(self.frame_count, self.frame_count + n, device=motion.device, dtype=motion.dtype)
        weight = smoothstep(frames / self.network.config.previous)
        own_pose = -self.network.mean / self.network.std  # the portrait's, normalised
        motion = motion.clone()
        for i, index in enumerate(CONTROL_INDICES):
            if mask[0, -1, i]:
                sway = (motion[0, :, index] - controls[0, p:, i] - own_pose[index]) * self.network.std[index]
                sway = sway.clamp(-MAX_SWAY, MAX_SWAY) / self.network.std[index] * sways
                motion[0, :, index] = own_pose[index] + weight * controls[0, p:, i] + sway
        if self.params.still:
            motion[..., 4] = own_pose[4]
        return motion


def _draw_seed(rng: torch.Generator) -> int:
    return int(torch.randint(2**62, (1,), generator=rng))


def generate_motion(
    network: Generator,
    speech: Tensor,
    start: Tensor,
    rng: torch.Generator,
    params: SamplingParams = SamplingParams(),
) -> Tensor:
    """Speech features [1,T,S] and the portrait's code [1,M] -> motion [T,M]; motion[0] is the portrait's code.

    Works for any T, window by window, in time linear in T. rng is a CPU generator.
    """
    return MotionStream(network, start, rng, params).push(speech, last=True)[0]
