"""Where a training runs: one process, or many that torchrun starts (accelerate, DistributedDataParallel).

A step is made of micro-batches, each with random numbers of its own, drawn from (seed, step, number). One process works
through `accumulate` of them one after the other; several processes share them. So two processes with one each do what
one process does with two, a resumed run draws what an unbroken one would, and terms that look across their batch
(softmax over people, CLUB, triplets) mean the same everywhere.

    torchrun --nproc-per-node 8 -m scripts.train_motion_space ...            one machine
    torchrun --nnodes 2 --node-rank N --master-addr HOST --nproc-per-node 8 -m scripts.train_motion_space ...
"""

from __future__ import annotations

import contextlib
import os
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor, nn

from anitalker.config import InputError
from anitalker.runtime.device import choose_device
from scripts.training.loop import Run, seed_all
from scripts.training.recipe import Recipe


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

    def micro_batches(self, accumulate: int) -> range:
        """Numbers of the micro-batches of a step that are this process's."""
        return range(self.rank, accumulate * self.world, self.world)

    def seed(self, seed: int, step: int, micro_batch: int) -> int:
        """Seed Python, NumPy and torch for one micro-batch of one step; the number that was used."""
        sequence = np.random.SeedSequence((seed, step, micro_batch))
        number = int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
        seed_all(number)
        return number

    def no_sync(self, module: nn.Module, last: bool) -> contextlib.AbstractContextManager:
        """Gradients are sent after a step's last micro-batch only."""
        return contextlib.nullcontext() if last or not self._many else self._many.no_sync(module)

    def average(self, tensor: Tensor) -> Tensor:
        """Mean over the processes."""
        return self._many.reduce(tensor, "mean") if self._many else tensor

    def average_gradients(self, module: nn.Module) -> None:
        """For networks that are trained beside the main one, outside of its wrapper."""
        for parameter in module.parameters() if self._many else ():
            slope = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = self.average(slope)

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


class AdversarialNetwork(nn.Module):
    """A network that is trained in alternation with the main one and has an optimizer of its own, kept in its state.

    `loss` gets, as positional arguments, what the objective puts out for it under NAME, and the step; it gives what to
    minimise, and numbers for the log.
    """

    NAME = ""
    optimizer: torch.optim.Optimizer
    loss: Callable[..., tuple[Tensor, dict[str, float]]]

    def get_extra_state(self) -> dict:
        """The optimizer's state, which becomes a part of `state_dict`."""
        return self.optimizer.state_dict()

    def set_extra_state(self, state: dict) -> None:
        """Load the optimizer's state; its learning rates do not count."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state)
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def update(self, engine: Engine) -> None:
        """One step along the gradients gathered since the last."""
        engine.average_gradients(self)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def start(options: Namespace) -> Engine:
    """The engine of a training with these options, everything seeded."""
    if options.threads:
        torch.set_num_threads(options.threads)
    engine = Engine(options.device)
    seed_all(options.seed)
    return engine


def open_run(
    engine: Engine,
    options: Namespace,
    recipe: Recipe,
    modules: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    configs: dict,
    helpers: dict[str, nn.Module] | None = None,
) -> Run:
    """The run in `options.out`, continued if it is there; config.json holds options, recipe and the networks' sizes."""
    config = {**vars(options), "recipe": asdict(recipe), **configs}
    for module in (helpers or {}).values():
        module.to(engine.device)
    samples = recipe.batch * recipe.accumulate * engine.world
    run = Run(options.out, config, modules, optimizer, recipe, samples, helpers, engine.main)
    run.resume()
    return run


def fit(
    run: Run,
    engine: Engine,
    objective: nn.Module,
    draw: Callable[[int, int], object],
    report: Callable[[object, dict], None] | None = None,
) -> None:
    """The training loop.

    objective(batch, step) gives losses by name with their `total`, and what else it puts out by name: for the
    adversaries among the run's helpers, and for the log; draw(step, seed) a batch; report(batch, outputs) is called
    every `recipe.score` steps and after the last, in the main process.
    """
    recipe = run.recipe
    adversaries = {name: helper for name, helper in run.helpers.items() if isinstance(helper, AdversarialNetwork)}
    wrapped = engine.prepare(objective)
    parameters = [parameter for group in run.optimizer.param_groups for parameter in group["params"]]
    for step in run.steps():
        run.optimizer.zero_grad(set_to_none=True)
        numbers: dict[str, float] = {}
        micro_batches = engine.micro_batches(recipe.accumulate)
        for number in micro_batches:
            batch = draw(step, engine.seed(run.seed, step, number))
            with engine.no_sync(wrapped, number == micro_batches[-1]):
                losses, outputs = wrapped(batch, step)
                (losses["total"] / recipe.accumulate).backward()
            values = {name: value.item() for name, value in losses.items()}
            for name in (name for name in adversaries if name in outputs):
                loss, scores = adversaries[name].loss(*outputs[name], step=step)
                (loss / recipe.accumulate).backward()
                values |= scores
            numbers = {name: numbers.get(name, 0.0) + value / recipe.accumulate for name, value in values.items()}
        torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
        run.optimizer.step()
        for name in (name for name in adversaries if name in outputs):
            adversaries[name].update(engine)
        run.log(**engine.means(numbers))
        if report and recipe.score and ((step + 1) % recipe.score == 0 or step + 1 == recipe.steps):
            if engine.main:
                report(batch, outputs)
            engine.wait()
        run.stopping = engine.any(run.stopping)
