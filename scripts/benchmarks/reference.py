"""The public original, as its demo runs it: same made-up weights, same process, same threads. Its code is not ours to
ship: the folder is given, and only read."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from anitalker.config import InputError
from scripts.benchmarks.ours import fill, portrait, speech_and_portrait
from scripts.evaluation import synthetic_weights

STEPS = 50  # of its sampler, in its demo


class Reference:
    """Stage one, and stage two where its dependency espnet can be imported."""

    def __init__(self, folder: str) -> None:
        code = Path(folder) / "code" if (Path(folder) / "code").is_dir() else Path(folder)
        if not (code / "LIA_Model.py").is_file():
            raise InputError(
                f"reference is {folder!r}, which has no LIA_Model.py; give a checkout of X-LANCE/AniTalker"
            )
        sys.path.insert(0, str(code))
        from LIA_Model import LIA_Model

        self.stage_one = fill(LIA_Model(motion_dim=20, fusion_type="weighted_sum"))
        self.stage_two, self.missing = None, None
        try:
            from model.seq2seq import DiffusionPredictor
        except ImportError as error:
            self.missing = str(error)
        else:
            config = SimpleNamespace(infer_type="mfcc_full_control", decoder_layers=2, motion_dim=20)
            with contextlib.redirect_stdout(io.StringIO()):
                self.stage_two = fill(DiffusionPredictor(config), "ema_model.")
        self.picture = portrait()

    def encode(self) -> None:
        """The demo's way: the same portrait four times, with gradients."""
        self.start, self.motion, self.features = self.stage_one.get_start_direction_code(*[self.picture] * 4)

    def frames(self, moved: Tensor) -> list[np.ndarray]:
        """The demo's way, one by one, with gradients, without its PNG files: [T,20] -> uint8 [256,256,3], rounded."""
        frames = []
        for row in moved:
            picture = self.stage_one.render(self.start, row[None], self.features).clamp(-1, 1).detach()
            frames.append(((picture[0].permute(1, 2, 0) + 1) * 127.5).round().to(torch.uint8).numpy())
        return frames

    @torch.no_grad()
    def move(self, frames: int, steps: int) -> None:
        """`steps` calls of the network, which is all that its sampler's time goes into."""
        sound, start, pose = speech_and_portrait(frames)
        noise, signal = torch.from_numpy(synthetic_weights.noise(frames)), torch.zeros(1, frames, 1)
        controls = signal, signal, signal.expand(-1, -1, 3)
        with contextlib.redirect_stdout(io.StringIO()):
            for step in range(steps):
                time = torch.full((1,), float(step))
                self.stage_two(start, pose, sound, *controls, noise, time, control_flag=False)
