"""Our models, stage by stage: the shipped `lite`, and the original's architecture with made-up weights."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from anitalker import pipeline, rendering
from anitalker.benchmark import PORTRAIT, example_speech, write_speech
from anitalker.config import FPS, SAMPLE_RATE, RenderOptions
from anitalker.faces.detection import Face, select_faces
from anitalker.files import EXAMPLES
from anitalker.media.writer import VideoWriter
from anitalker.models import lite
from anitalker.models.original import Original as OriginalModel
from anitalker.models.original import OriginalFace
from anitalker.network_config import DenoiserConfig, StageOneConfig
from anitalker.original.denoiser import Denoiser
from anitalker.original.stage_one import StageOne
from anitalker.portrait import Portrait
from scripts.benchmarks.report import DTYPES
from scripts.evaluation import synthetic_weights


def fill(module: nn.Module, prefix: str = "") -> nn.Module:
    """The module with made-up weights, the same on every machine."""
    weights = module.state_dict()
    for name, tensor in weights.items():
        if not name.endswith("kernel"):  # low-pass kernels are constants that the public code saves as weights
            integer = not tensor.is_floating_point()
            weights[name] = torch.from_numpy(synthetic_weights.weight(prefix + name, tensor.shape, integer))
    module.load_state_dict(weights)
    return module.eval()


def portrait() -> Tensor:
    """The made-up portrait: [1,3,256,256] in [-1,1]."""
    return torch.from_numpy(synthetic_weights.portrait_u8()).permute(2, 0, 1)[None] / 127.5 - 1


def speech_and_portrait(frames: int) -> list[Tensor]:
    """Made-up cepstra [1,4T,39], identity code [1,512] and motion code [1,20] of the portrait."""
    arrays = synthetic_weights.mfcc_feats(frames), synthetic_weights.start_code(), synthetic_weights.start_motion()
    return list(map(torch.from_numpy, arrays))


def motion(frames: int) -> Tensor:
    """Made-up motion of the original's kind, moderate and smooth: [T,20]."""
    time = torch.arange(frames)[:, None] / FPS
    return torch.from_numpy(synthetic_weights.start_motion()) + 0.4 * torch.sin(2 * time + torch.arange(20))


def speech(seconds: float) -> np.ndarray:
    """The example's speech, repeated or cut: float32 [N]. Without ffmpeg syllables of noise, which take as long."""
    try:
        return example_speech(seconds)
    except ModuleNotFoundError:
        samples = np.arange(round(seconds * SAMPLE_RATE))
        loudness = np.sin(4 * np.pi * samples / SAMPLE_RATE).clip(0)
        return (0.1 * loudness * np.random.default_rng(0).standard_normal(len(samples))).astype(np.float32)


class Original:
    """Stage one and stage two (mfcc_full_control) of the published size."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        torch.backends.cudnn.allow_tf32 = False  # as `pipeline.load` does
        self.stage_one, denoiser = fill(StageOne(StageOneConfig())), Denoiser(DenoiserConfig("mfcc_full_control"))
        self.denoiser = fill(denoiser, "ema_model.").to(device)
        self.model = OriginalModel(self.stage_one, self.denoiser, device)
        self.picture = portrait().to(device)
        self.renderers: dict[str, Callable[[Tensor], Tensor]] = {}  # by number format

    @torch.inference_mode()
    def encode(self) -> None:
        """The portrait's codes and features."""
        self.look = self.stage_one.encode(self.picture)

    def frames(self, moved: Tensor, dtype: str, batch: int | None = None) -> Iterator[np.ndarray]:
        """Motion [T,20] -> frames uint8 [256,256,3], drawn as the pipeline draws, `batch` at once (None: its own)."""
        return rendering.render(self.model, [self.subject(dtype)], [moved.to(self.device)], batch, None)

    @torch.inference_mode()
    def subject(self, dtype: str) -> OriginalFace:
        """The portrait, ready to be drawn in one number format."""
        look, dec = self.look, self.stage_one.dec
        if dtype not in self.renderers:
            constants = dec.constants(DTYPES[dtype])
            ready = dec.prepare(constants, look.image_code, look.skips)
            self.renderers[dtype] = lambda row: dec.draw(constants, ready, row).pictures
        return OriginalFace(None, look.image_code, look.motion_code, look.identity, self.renderers[dtype], {}, None)

    def gflop(self, moved: Tensor, dtype: str) -> float:
        """GFLOP of one frame."""
        row, subject = moved[:1].to(self.device), self.subject(dtype)
        return flops(lambda: list(self.model.render_frames(subject, row)))

    @torch.inference_mode()
    def move(self, frames: int, steps: int) -> Tensor:
        """Made-up speech of T frames -> motion [T,20], in windows as the pipeline makes it."""
        sound, start, pose = (tensor.to(self.device) for tensor in speech_and_portrait(frames))
        return self.model.generate_motion(
            sound, OriginalFace(None, start, pose, start, None, {}, None), RenderOptions(steps=steps)
        )


class Lite:
    """The shipped model."""

    def __init__(self, device: torch.device) -> None:
        self.talker = pipeline.load("lite", str(device))
        self.device = device

    def encode(self) -> None:
        """The portrait: found, cropped, read, judged."""
        self.portrait = self.talker.portrait(EXAMPLES / PORTRAIT)

    def take(self, pixels: np.ndarray, face: Face | None = None) -> None:
        """Prepare a picture, uint8 [H,W,3], and its largest face (or `face`), which is not judged: that takes zuko."""
        model = self.talker.model
        (face,) = (face,) if face else select_faces(self.talker.finder().find(pixels), "largest", "the picture")
        self.portrait = Portrait(pixels, (model.prepare(pixels, model.crop(pixels, face)),), (0,), (face,))

    def move(self, seconds: float) -> Tensor:
        """Speech of so many seconds -> motion [T,20]."""
        return self.talker.motion(self.portrait, speech(seconds))[0]

    def frames(self, moved: Tensor, dtype: str, batch: int | None = None) -> Iterator[np.ndarray]:
        """Motion [T,20] -> whole frames in one number format, `batch` at once (None: the pipeline's choice)."""
        draw_in(dtype)
        return self.talker.draw(self.portrait, [moved.to(self.device)], RenderOptions(batch_size=batch))

    def gflop(self, moved: Tensor, dtype: str) -> float:
        """GFLOP of one frame."""
        draw_in(dtype)
        face, row = self.portrait.faces[0], moved[:1].to(self.device)
        return flops(lambda: list(self.talker.model.render_patches(face, row)))


def draw_in(dtype: str) -> None:
    """Let `lite` draw in this number format, whatever the device."""
    lite.draws_in_bfloat16 = lambda device, channels: dtype == "bfloat16"


def flops(work: Callable[[], object]) -> float:
    """GFLOP of products and convolutions in one call, of this thread; a multiplication with its addition counts 2."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 1e9


def write(frames: list[np.ndarray], path: Path) -> None:
    """H.264, as for users."""
    with VideoWriter(path, frames[0].shape[1], frames[0].shape[0]) as writer:
        for frame in frames:
            writer.write(frame)


def recording(seconds: float, folder: Path) -> Path:
    """Speech of so many seconds as a file."""
    return write_speech(speech(seconds), folder / f"speech-{seconds:g}.wav")


def render_job(seconds: float, folder: Path, device: str) -> dict:
    """The command line in a process of its own, loading included: facts of --json and its whole real-time factor."""
    command = [sys.executable, "-m", "anitalker", "render", str(EXAMPLES / PORTRAIT)]
    command += [str(recording(seconds, folder)), "-o", str(folder / "out.mp4"), "--device", device, "--json"]
    start = time.perf_counter()
    job = subprocess.run(command, capture_output=True, text=True, check=True)
    return {**json.loads(job.stdout), "whole_rtf": (time.perf_counter() - start) / seconds}
