"""The training loop that every recipe shares: steps, EMA, log lines, TensorBoard, checkpoints that survive kill -9."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from anitalker.config import InputError


class Run:
    """One training run in one folder.

    folder/config.json         the resolved configuration
    folder/checkpoint.pt       step, modules, EMA, optimizer and random states, written by rename
    folder/weights.safetensors EMA weights under "<module>.<parameter>", configuration in the metadata
    folder/tb/                 TensorBoard events

    Arguments: folder; config, JSON types only, which also carries the network's own config; modules by name;
    optimizer; steps, how many in all; samples, per step, for samples/s; ema, decay (None: the weights themselves are
    exported); save_every, seconds between checkpoints; helpers, modules that only training needs (a discriminator): in
    the checkpoint, not in the weights; main, False for all but one of several processes, which then write nothing.
    """

    def __init__(
        self,
        folder: str | Path,
        config: dict,
        modules: dict[str, nn.Module],
        optimizer: torch.optim.Optimizer,
        steps: int,
        samples: int = 1,
        ema: float | None = 0.997,
        save_every: float = 120,
        log_every: int = 25,
        helpers: dict[str, nn.Module] | None = None,
        main: bool = True,
    ) -> None:
        self.folder, self.config, self.modules, self.optimizer = Path(folder), config, modules, optimizer
        self.total, self.samples, self.decay = steps, samples, ema
        self.save_every, self.log_every, self.helpers = save_every, log_every, helpers or {}
        self.main, self.seed = main, int(config.get("seed", 0))
        self.step, self.stopping, self.sums, self.writer = 0, False, {}, None
        self.average = {name: tensor.detach().clone() for name, tensor in self._tensors().items()}
        if main:
            self.folder.mkdir(parents=True, exist_ok=True)

    def _tensors(self) -> dict[str, torch.Tensor]:
        return {f"{m}.{k}": v for m, module in self.modules.items() for k, v in module.state_dict().items()}

    def resume(self) -> bool:
        """Continue from the folder's checkpoint if there is one."""
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            return False
        state = torch.load(path, map_location="cpu", weights_only=True)
        missing = [name for name in self.helpers if name not in state.get("helpers", {})]
        try:
            for name, module in self.modules.items():
                module.load_state_dict(state["modules"][name])
            for name, module in self.helpers.items():
                if name not in missing:
                    module.load_state_dict(state["helpers"][name])
            self.optimizer.load_state_dict(state["optimizer"])
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{path} is of other settings ({reason}); give another --out, and --start {self.folder}"
            ) from error
        if missing:
            print(f"{self.folder.name}: its checkpoint has no {', '.join(missing)}, which begin anew", flush=True)
        self.step = state["step"]
        self.average = {name: tensor.to(self.average[name].device) for name, tensor in state["average"].items()}
        torch.set_rng_state(state["torch_rng"])
        random.seed(state["seed"] + self.step)
        np.random.seed((state["seed"] + self.step) % 2**32)
        if self.main:
            print(f"{self.folder.name}: resumed at step {self.step} of {self.total}", flush=True)
        return True

    def steps(self) -> Iterator[int]:
        """Step numbers still to do; saves in between, at the end, and when told to stop."""
        if self.main:
            (self.folder / "config.json").write_text(json.dumps(self.config, indent=1))
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        saved, self.since, self.first = time.monotonic(), time.monotonic(), self.step
        while self.step < self.total and not self.stopping:
            yield self.step
            self.step += 1
            self._update_average()
            if time.monotonic() - saved > self.save_every:
                self.save()
                saved = time.monotonic()
        self.save()

    def _stop(self, *_: object) -> None:
        self.stopping = True

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = 0.0 if self.decay is None else min(self.decay, (1 + self.step) / (10 + self.step))
        for name, tensor in self._tensors().items():
            if tensor.is_floating_point():
                self.average[name].lerp_(tensor.to(self.average[name]), 1 - decay)
            else:
                self.average[name].copy_(tensor)

    def log(self, **scalars: float) -> None:
        """Add this step's numbers; every `log_every` steps print their means and write them to TensorBoard."""
        for name, value in scalars.items():
            self.sums.setdefault(name, []).append(float(value))
        if (self.step + 1) % self.log_every:
            return
        means = {name: float(np.mean(values)) for name, values in self.sums.items()}
        self.sums = {}
        done = self.step + 1 - self.first
        rate = done / (time.monotonic() - self.since)
        if not self.main:
            return
        left = (self.total - self.step - 1) / rate
        numbers = " ".join(f"{name} {value:.4g}" for name, value in means.items())
        pace = f"{rate * self.samples:.1f} samples/s, {left / 60:.1f} min left"
        print(f"{self.step + 1}/{self.total} {numbers} | {pace}", flush=True)
        self.write(**means)

    def write(self, **scalars: float) -> None:
        """Scalars to TensorBoard (extra `train`); without it the printed line is the log."""
        if self.writer is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return
            self.writer = SummaryWriter(self.folder / "tb")
        for name, value in scalars.items():
            self.writer.add_scalar(name, value, self.step + 1)

    def scores(self, scores: dict[str, float]) -> None:
        """Print scores on val and write them to TensorBoard."""
        print("val " + " ".join(f"{name} {value:.3f}" for name, value in scores.items()), flush=True)
        self.write(**{f"val/{name}": value for name, value in scores.items()})

    def averaged(self, module: str) -> dict[str, torch.Tensor]:
        """State dict of a module's running mean."""
        prefix = f"{module}."
        return {k.removeprefix(prefix): v for k, v in self.average.items() if k.startswith(prefix)}

    def images(self, name: str, pictures: torch.Tensor) -> None:
        """Pictures [N,3,H,W] in 0..1 to TensorBoard."""
        if self.writer is not None:
            self.writer.add_images(name, pictures.float().clamp(0, 1), self.step + 1)

    def save(self) -> None:
        """Write checkpoint and EMA weights, each whole or not at all."""
        if not self.main:
            return
        state = {
            "step": self.step,
            "seed": self.seed,
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "helpers": {name: module.state_dict() for name, module in self.helpers.items()},
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
        }
        _replace(self.folder / "checkpoint.pt", lambda path: torch.save(state, path))
        weights = {name: tensor.contiguous() for name, tensor in self.average.items()}
        meta = {"config": json.dumps(self.config), "step": str(self.step)}
        _replace(self.folder / "weights.safetensors", lambda path: save_file(weights, path, meta))


def weights_of(source: str | Path) -> Path:
    """A run folder's weights, or the file itself."""
    path = Path(source)
    return path / "weights.safetensors" if path.is_dir() else path


def load_module(module: nn.Module, source: str | Path, name: str, new: str | None = None) -> None:
    """EMA weights of one module from another run's folder, or from a file of weights such as a shipped one.

    new: a part of the module that the other run may lack, and that keeps its start then.
    """
    tensors = load_file(weights_of(source))
    state = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
    own = {k: v for k, v in module.state_dict().items() if new is not None and k.startswith(f"{new}.")}
    module.load_state_dict(own | state)


def _replace(path: Path, write) -> None:
    partial = path.with_suffix(path.suffix + ".partial")
    write(partial)
    os.replace(partial, path)


def schedule(step: int, total: int, warm: int = 200) -> float:
    """Learning-rate factor: linear warm-up, then a cosine down to 2%."""
    if step < warm:
        return (step + 1) / warm
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def seed_all(seed: int) -> None:
    """Seed Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
