"""Where a training runs: one process, or many that torchrun starts (accelerate, DistributedDataParallel).

A step is made of parts, each a batch with random numbers of its own, drawn from (seed, step, part). One process works
through `accumulate` parts one after the other; several processes share them. So two processes with one part each do
what one process does with two, a resumed run draws what an unbroken one would, and terms that look across their batch
(softmax over people, CLUB, triplets) mean the same everywhere.

    torchrun --nproc-per-node 8 -m scripts.train_motion_space ...            one machine
    torchrun --nnodes 2 --node-rank N --master-addr HOST --nproc-per-node 8 -m scripts.train_motion_space ...
"""

from __future__ import annotations

import contextlib
import os
import random
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor, nn

from anitalker.config import InputError
from anitalker.runtime.device import choose_device
from scripts.training.loop import Run, schedule


class Engine:
    """Device, rank, and what processes tell each other. With one process nothing is wrapped and nothing is sent.

    device: auto, cpu, cuda or mps; with several processes each takes the GPU of its local rank, or gloo on the CPU.
    """

    def __init__(self, device: str = "auto") -> None:
        self.world, self.rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
        self.main = self.rank == 0
        self.device, self._many = choose_device(device), None
        if self.world > 1:
            try:
                from accelerate import Accelerator, DistributedDataParallelKwargs
            except ImportError as error:
                raise InputError("several processes need accelerate; pip install 'anitalker[train]'") from error
            # Parameters that a step does not use (a head without its term, a dropped stage) must not stall the others.
            unused = DistributedDataParallelKwargs(find_unused_parameters=True)
            self._many = Accelerator(cpu=self.device.type == "cpu", kwargs_handlers=[unused])
            self.device = self._many.device
        torch.backends.cudnn.benchmark = True  # pictures of one size: the quickest algorithm is looked for once

    def prepare(self, module: nn.Module) -> nn.Module:
        """The module on this process's device, its gradients averaged over all processes."""
        module.to(self.device)
        return self._many.prepare_model(module) if self._many else module

    def parts(self, accumulate: int) -> range:
        """Numbers of the parts of a step that are this process's."""
        return range(self.rank, accumulate * self.world, self.world)

    def seed(self, seed: int, step: int, part: int) -> int:
        """Seed Python, NumPy and torch for one part of one step; the number that was used."""
        number = int(np.random.SeedSequence((seed, step, part)).generate_state(1, np.uint64)[0] >> np.uint64(1))
        random.seed(number)
        np.random.seed(number % 2**32)
        torch.manual_seed(number)
        return number

    def held(self, module: nn.Module, last: bool) -> contextlib.AbstractContextManager:
        """Gradients are sent after a step's last part only."""
        return contextlib.nullcontext() if last or not self._many else self._many.no_sync(module)

    def average(self, tensor: Tensor) -> Tensor:
        """Mean over the processes."""
        return self._many.reduce(tensor, "mean") if self._many else tensor

    def average_gradients(self, module: nn.Module) -> None:
        """For networks that are trained beside the main one, outside of its wrapper."""
        if self._many:
            given = [p for p in module.parameters() if p.requires_grad]
            flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in given])
            for parameter, slope in zip(given, self.average(flat).split([p.numel() for p in given]), strict=True):
                parameter.grad = slope.view_as(parameter)

    def means(self, numbers: dict[str, float]) -> dict[str, float]:
        """Means over the processes of numbers that all of them have."""
        if not self._many or not numbers:
            return numbers
        values = torch.tensor(list(numbers.values()), dtype=torch.float32, device=self.device)
        return dict(zip(numbers, self.average(values).tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Whether it is so for any process."""
        return bool(self.average(torch.tensor(float(flag), device=self.device)) > 0) if self._many else flag

    def wait(self) -> None:
        """Until all processes are here."""
        if self._many:
            self._many.wait_for_everyone()


class Opponent(nn.Module):
    """A network that is trained in alternation with the main one and has an optimizer of its own, kept in its state.

    `loss` gets, as positional arguments, what the objective left for it under NAME, and the step.
    """

    NAME = ""
    optimizer: torch.optim.Optimizer

    def get_extra_state(self) -> dict:
        return self.optimizer.state_dict()

    def set_extra_state(self, state: dict) -> None:
        self.optimizer.load_state_dict(state)

    def loss(self, *seen, step: int) -> tuple[Tensor, dict[str, float]]:
        """What to minimise, and numbers for the log."""
        raise NotImplementedError

    def update(self, engine: Engine) -> None:
        """One step along the gradients gathered since the last."""
        engine.average_gradients(self)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def open_run(
    engine: Engine,
    arguments: Namespace,
    recipe,
    modules: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    opponents: list[Opponent],
    configs: dict,
) -> Run:
    """The run in `arguments.out`, continued if it is there; its config.json holds arguments, recipe and sizes."""
    resolved = {**vars(arguments), "recipe": asdict(recipe), **configs}
    run = Run(
        arguments.out,
        resolved,
        modules,
        optimizer,
        recipe.steps,
        recipe.batch * recipe.accumulate * engine.world,
        recipe.decay,
        recipe.save_every,
        recipe.log_every,
        helpers={one.NAME: one for one in opponents},
        main=engine.main,
    )
    peaks = [group["peak"] for group in optimizer.param_groups]
    run.resume()
    for group, peak in zip(optimizer.param_groups, peaks, strict=True):
        group["peak"] = peak  # a rate given anew counts
    return run


def fit(
    run: Run,
    engine: Engine,
    objective: nn.Module,
    draw: Callable[[int], object],
    opponents: list[Opponent],
    recipe,
    report: Callable[[int, object, dict], None],
) -> None:
    """The loop that stage one and the stage two of the original share.

    objective(batch, step) gives losses by name with their `total`, and what it leaves behind by name (for opponents and
    pictures of the log); draw(seed) a batch; recipe has steps, warm, accumulate, clip and score as presets.Recipe;
    report(step, batch, left) is called every `recipe.score` steps and after the last.
    """
    wrapped = engine.prepare(objective)
    parameters = [p for group in run.optimizer.param_groups for p in group["params"]]
    for step in run.steps():
        for group in run.optimizer.param_groups:
            group["lr"] = group["peak"] * schedule(step, recipe.steps, recipe.warm)
        run.optimizer.zero_grad(set_to_none=True)
        numbers: dict[str, float] = {}
        for part in (parts := engine.parts(recipe.accumulate)):
            batch = draw(engine.seed(run.seed, step, part))
            with engine.held(wrapped, part == parts[-1]):
                losses, left = wrapped(batch, step)
                (losses["total"] / recipe.accumulate).backward()
            told = {name: value.item() for name, value in losses.items()}
            for opponent in opponents:
                if opponent.NAME in left:
                    loss, more = opponent.loss(*left[opponent.NAME], step=step)
                    (loss / recipe.accumulate).backward()
                    told |= more
            numbers = {name: numbers.get(name, 0.0) + value / recipe.accumulate for name, value in told.items()}
        torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
        run.optimizer.step()
        for opponent in opponents:
            if opponent.NAME in left:
                opponent.update(engine)
        run.log(**engine.means(numbers))
        if (step + 1) % recipe.score == 0 or step + 1 == recipe.steps:
            if engine.main:
                report(step, batch, left)
            engine.wait()
        run.stopping = engine.any(run.stopping)
