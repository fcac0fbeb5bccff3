"""Our models, stage by stage: the shipped `lite`, and the original's architecture with made-up weights."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from anitalker import pipeline, rendering
from anitalker.config import FPS, SAMPLE_RATE, DenoiserConfig, RenderOptions, StageOneConfig
from anitalker.media.text_to_speech import write_wav
from anitalker.media.video import read_audio
from anitalker.media.writer import VideoWriter
from anitalker.models import lite
from anitalker.models.original import Original as OriginalModel
from anitalker.models.original import OriginalFace
from anitalker.original.denoiser import Denoiser
from anitalker.original.stage_one import StageOne
from anitalker.runtime.cuda_graphs import as_cuda_graph
from scripts.evaluation import synthetic_weights

EXAMPLES = Path(__file__).parents[2] / "app/examples"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def fill(module: nn.Module, prefix: str = "") -> nn.Module:
    """The module with made-up weights, the same on every machine."""
    names = module.state_dict()
    made = {k: synthetic_weights.weight(prefix + k, v.shape, not v.is_floating_point()) for k, v in names.items()}
    # Low-pass kernels are constants that the public code saves as weights.
    kept = {k: names[k] if k.endswith("kernel") else torch.from_numpy(v) for k, v in made.items()}
    module.load_state_dict(kept)
    return module.eval()


def motion(frames: int) -> Tensor:
    """Made-up motion of the original's kind, moderate and smooth: [T,20]."""
    time = torch.arange(frames)[:, None] / FPS
    return torch.from_numpy(synthetic_weights.start_motion()) + 0.4 * torch.sin(2 * time + torch.arange(20))


def speech(seconds: float) -> np.ndarray:
    """The example's speech, repeated or cut: float32 [N]."""
    own = read_audio(EXAMPLES / "speech.flac")
    return np.resize(own, round(seconds * SAMPLE_RATE))


class Original:
    """Stage one and stage two (mfcc_full_control) of the published size."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stage_one, denoiser = fill(StageOne(StageOneConfig())), Denoiser(DenoiserConfig("mfcc_full_control"))
        self.denoiser = fill(denoiser, "ema_model.").to(device)
        self.model = OriginalModel(self.stage_one, self.denoiser, device)
        self.picture = torch.from_numpy(synthetic_weights.portrait_u8()).to(device).permute(2, 0, 1)[None] / 127.5 - 1

    @torch.inference_mode()
    def encode(self) -> None:
        """The portrait's codes and features."""
        self.look = self.stage_one.encode(self.picture)

    @torch.inference_mode()
    def frames(self, moved: Tensor, dtype: str, graphs: bool = True) -> Iterator[np.ndarray]:
        """Motion [T,20] -> frames uint8 [256,256,3], drawn as the pipeline draws; graphs: on a card, CUDA graphs."""
        known = self.__dict__.setdefault("drawing", {})
        if (dtype, graphs) not in known:
            known[dtype, graphs] = self._drawing(DTYPES[dtype], graphs)
        subject = OriginalFace(
            None, self.look.image_code, self.look.motion_code, self.look.identity, known[dtype, graphs], {}
        )
        return rendering.render(self.model, [subject], [moved.to(self.device)], RenderOptions().batch_size, None)

    def _drawing(self, dtype: torch.dtype, graphs: bool) -> Callable[[Tensor], Tensor]:
        dec = self.stage_one.dec
        constants = dec.constants(dtype)
        ready = dec.prepare(constants, self.look.image_code, self.look.skips)
        plain = lambda motion: dec.draw(constants, ready, motion).pictures  # noqa: E731
        return as_cuda_graph(plain, self.device) if graphs else plain

    @torch.inference_mode()
    def move(self, frames: int, steps: int) -> Tensor:
        """Made-up speech of T frames -> motion [T,20], in windows as the pipeline makes it."""
        sound, start, portrait = (
            torch.from_numpy(x).to(self.device)
            for x in (
                synthetic_weights.mfcc_feats(frames),
                synthetic_weights.start_code(),
                synthetic_weights.start_motion(),
            )
        )
        subject = OriginalFace(None, start, portrait, start, None, {})
        return self.model.generate_motion(sound, subject, RenderOptions(steps=steps))


class Lite:
    """The shipped model."""

    def __init__(self, device: torch.device) -> None:
        self.talker = pipeline.load("lite", str(device))
        self.device = device

    def encode(self) -> None:
        """The portrait: found, cropped, read."""
        self.portrait = self.talker.portrait(EXAMPLES / "portrait.webp")

    def move(self, seconds: float) -> Tensor:
        """Speech of so many seconds -> motion [T,20]."""
        return self.talker.motion(self.portrait, speech(seconds))[0]

    def frames(self, moved: Tensor, dtype: str, graphs: bool = True) -> Iterator[np.ndarray]:
        """Motion [T,20] -> whole frames in one number format; graphs: on a card, CUDA graphs."""
        lite.draws_in_bfloat16 = lambda device, channels: dtype == "bfloat16"
        portrait = self.portrait
        if not graphs:
            portrait = replace(portrait, faces=tuple(replace(one, unet=None) for one in portrait.faces))
        return self.talker.draw(portrait, [moved.to(self.device)])


def flops(work) -> float:
    """GFLOP of products and convolutions in one call; a multiplication with its addition counts 2."""
    custom = {}
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):  # what anitalker.runtime.matmul multiplies by
        custom[torch.ops.mkldnn._linear_pointwise] = lambda x, weight, *rest, **more: 2 * math.prod(x) * weight[0]
    with FlopCounterMode(display=False, custom_mapping=custom) as counter:
        work()
    return counter.get_total_flops() / 1e9


def write(frames: list[np.ndarray], path: Path) -> None:
    """H.264, as for users."""
    with VideoWriter(path, frames[0].shape[1], frames[0].shape[0]) as writer:
        for frame in frames:
            writer.write(frame)


def recording(seconds: float, folder: Path) -> Path:
    """Speech of so many seconds as a file."""
    file = folder / f"speech-{seconds:g}.wav"
    write_wav(file, speech(seconds).clip(-1, 1) * 32767, SAMPLE_RATE)
    return file


def whole(seconds: float, folder: Path, device: str) -> dict:
    """The command line in a process of its own, loading included: facts of --json and its whole real-time factor."""
    command = [sys.executable, "-m", "anitalker", "render", str(EXAMPLES / "portrait.webp")]
    command += [str(recording(seconds, folder)), "-o", str(folder / "out.mp4"), "--device", device, "--json"]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    elapsed = time.perf_counter() - start
    return {**json.loads(done.stdout), "elapsed": elapsed, "whole_rtf": elapsed / seconds}
