"""A training run in its folder: steps, EMA, log lines, TensorBoard, checkpoints that survive kill -9."""

from __future__ import annotations

import contextlib
import json
import math
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from anitalker.config import InputError
from anitalker.files import write_whole
from scripts.training.recipe import Recipe

FLOOR = 0.02  # of the highest learning rate, at the end


class Run:
    """One training run in one folder.

    folder/config.json         the resolved configuration
    folder/checkpoint.pt       step, modules, EMA, optimizer, written by rename
    folder/weights.safetensors EMA weights under "<module>.<parameter>", configuration in the metadata
    folder/tb/                 TensorBoard events

    Arguments: folder; config, JSON types only, with the networks' sizes; modules by name, on their device; optimizer,
    its groups at their highest learning rates; recipe; samples per step, for samples/s; helpers, modules that only
    training needs: in the checkpoint, not in the weights; main, the one process that writes.
    """

    def __init__(
        self,
        folder: str | Path,
        config: dict,
        modules: dict[str, nn.Module],
        optimizer: torch.optim.Optimizer,
        recipe: Recipe,
        samples: int = 1,
        helpers: dict[str, nn.Module] | None = None,
        main: bool = True,
    ) -> None:
        self.folder, self.config, self.optimizer = Path(folder), config, optimizer
        self.modules = nn.ModuleDict(modules)
        self.recipe, self.samples, self.helpers, self.main = recipe, samples, helpers or {}, main
        self.peaks = [group["lr"] for group in optimizer.param_groups]
        self.seed, self.step, self.stopping = int(config.get("seed", 0)), 0, False
        self.logged: list[dict[str, float]] = []
        self.writer = None
        self.average = AveragedModel(self.modules, multi_avg_fn=self._update_average, use_buffers=True)
        self.average.n_averaged.fill_(1)  # the weights that it begins with
        self.average.eval().requires_grad_(False)
        if main:
            self.folder.mkdir(parents=True, exist_ok=True)

    def averaged(self, module: str) -> nn.Module:
        """A module with the running mean of its weights, in evaluation mode; not to be changed."""
        return self.average.module[module]

    def _update_average(self, averages: list[Tensor], currents: list[Tensor], _: Tensor) -> None:
        decay = min(self.recipe.decay, (1 + self.step) / (10 + self.step))
        for average, current in zip(averages, currents, strict=True):
            if average.is_floating_point():
                average.lerp_(current, 1 - decay)
            else:
                average.copy_(current)

    def resume(self) -> bool:
        """Continue from the folder's checkpoint if there is one; its learning rates do not count."""
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            return False
        state = torch.load(path, map_location="cpu", weights_only=True)
        try:
            for name, module in self.modules.items():
                module.load_state_dict(state["modules"][name])
            for name, helper in self.helpers.items():
                helper.load_state_dict(state["helpers"][name])
            self.average.module.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (KeyError, RuntimeError, ValueError) as error:
            reason = f"{path} is of other settings ({str(error).splitlines()[0]})"
            raise InputError(f"{reason}; give another --out, and --start {self.folder}") from error
        self.step = state["step"]
        if self.main:
            print(f"{self.folder.name}: resumed at step {self.step} of {self.recipe.steps}", flush=True)
        return True

    def steps(self) -> Iterator[int]:
        """Step numbers still to do, each at its learning rate; saves in between, at the end, and when told to stop."""
        if self.main:
            (self.folder / "config.json").write_text(json.dumps(self.config, indent=1))
            with contextlib.suppress(ImportError):  # without the extra `train` the printed lines are the log
                from torch.utils.tensorboard import SummaryWriter

                self.writer = SummaryWriter(self.folder / "tb")
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        saved, self.since, self.first = time.monotonic(), time.monotonic(), self.step
        while self.step < self.recipe.steps and not self.stopping:
            factor = rate_factor(self.step, self.recipe)
            for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
                group["lr"] = peak * factor
            yield self.step
            self.step += 1
            self.average.update_parameters(self.modules)
            if time.monotonic() - saved > self.recipe.save_every:
                self.save()
                saved = time.monotonic()
        self.save()

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def log(self, **scalars: float) -> None:
        """Add this step's numbers; every `log_every` steps print their means and write them to TensorBoard."""
        self.logged.append(scalars)
        if (self.step + 1) % self.recipe.log_every == 0:
            names = dict.fromkeys(name for numbers in self.logged for name in numbers)
            means = {name: np.mean([numbers[name] for numbers in self.logged if name in numbers]) for name in names}
            rate = (self.step + 1 - self.first) / (time.monotonic() - self.since)
            pace = (
                f"{rate * self.samples:.1f} samples/s, {(self.recipe.steps - self.step - 1) / rate / 60:.1f} min left"
            )
            self._write(f"{self.step + 1}/{self.recipe.steps}", means, f" | {pace}")
            self.logged = []

    def scores(self, scores: dict[str, float]) -> None:
        """Print scores on val and write them to TensorBoard."""
        self._write("val", scores, prefix="val/")

    def _write(self, title: str, scalars: dict[str, float], more: str = "", prefix: str = "") -> None:
        if self.main:
            print(title, *(f"{name} {value:.4g}" for name, value in scalars.items()), end=f"{more}\n", flush=True)
        if self.writer is not None:
            for name, value in scalars.items():
                self.writer.add_scalar(prefix + name, value, self.step + 1)

    def images(self, name: str, pictures: Tensor) -> None:
        """Pictures [N,3,H,W] in -1..1 to TensorBoard."""
        if self.writer is not None:
            self.writer.add_images(name, ((pictures.float() + 1) / 2).clamp(0, 1), self.step + 1)

    def save(self) -> None:
        """Write checkpoint and EMA weights, each whole or not at all."""
        if not self.main:
            return
        average = self.average.module.state_dict()
        state = {
            "step": self.step,
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "helpers": {name: module.state_dict() for name, module in self.helpers.items()},
            "average": average,
            "optimizer": self.optimizer.state_dict(),
        }
        write_whole(self.folder / "checkpoint.pt", lambda path: torch.save(state, path))
        weights = {name: tensor.contiguous() for name, tensor in average.items()}
        meta = {"config": json.dumps(self.config), "step": str(self.step)}
        write_whole(self.folder / "weights.safetensors", lambda path: save_file(weights, path, meta))


def weights_of(source: str | Path) -> Path:
    """A run folder's weights, or the file itself."""
    path = Path(source)
    return path / "weights.safetensors" if path.is_dir() else path


def load_module(module: nn.Module, source: str | Path, name: str, new: str | None = None) -> None:
    """EMA weights of one module from another run's folder, or from a file of weights such as a shipped one.

    new: a child of the module that the other run may lack, and that keeps its start then.
    """
    tensors = load_file(weights_of(source))
    state = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
    start = {k: v for k, v in module.state_dict().items() if new is not None and k.startswith(f"{new}.")}
    module.load_state_dict(start | state)


def rate_factor(step: int, recipe: Recipe) -> float:
    """Share of the highest learning rate at a step: a linear warm-up, then a cosine down to FLOOR."""
    if step < recipe.warm:
        return (step + 1) / recipe.warm
    done = (step - recipe.warm) / max(1, recipe.steps - recipe.warm)
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * done))


def seed_all(seed: int) -> None:
    """Seed Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
