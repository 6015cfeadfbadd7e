"""The training loop: one for every stage, which only says what a step computes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import time
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vap.training.checkpoints import RunState, load_checkpoint, save_checkpoint
from vap.training.config import LoopConfig, OptimizerConfig, Section
from vap.training.optimizers import (
    WeightAverage,
    build_optimizers,
    schedule_factor,
    set_learning_rate,
    trainable_parameters,
)

_LOGGER = logging.getLogger(__name__)


class Task(Protocol):
    """What a stage trains and how a step's loss is computed.

    Attributes:
        model: The module whose parameters with ``requires_grad`` are trained.
    """

    model: nn.Module

    def batch(self, step: int) -> Any:
        """The samples of a step, a function of the step and the recipe's seed alone."""

    def loss(self, model: nn.Module, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """Scalars of a step: ``"loss"`` is minimised, the others are logged."""

    def save(self, output: Path) -> None:
        """Write the trained parts into the output folder."""


def train(task: Task, recipe: Section, loop: LoopConfig, optimizer: OptimizerConfig) -> Path:
    """Train a task to its last step, continuing from its checkpoint if there is one.

    Args:
        task: What is trained.
        recipe: The whole recipe; its ``output`` folder receives checkpoints, ``metrics.jsonl``
            and the trained parts.
        loop: Steps, batch size, seed, logging.
        optimizer: Optimiser, schedule and averaging.

    Returns:
        The output folder.

    Raises:
        FloatingPointError: If the loss is not finite; weights are as before that step.
        ValueError: If the checkpoint in the output folder belongs to another recipe.
    """
    if loop.threads:
        torch.set_num_threads(loop.threads)
    output = Path(str(recipe.model_dump()["output"]))
    output.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(mixed_precision=loop.precision)
    model = accelerator.prepare(task.model)
    run = _Run(task, model, accelerator, loop, optimizer, output)
    run.resume(_fingerprint(recipe))
    run.run()
    if run.state.average is not None:
        run.state.average.copy_to(run.state.parameters)
    if accelerator.is_main_process:
        task.save(output)
    return output


class _Run:
    """One run's moving parts: the loop below is all there is to a step."""

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        accelerator: Accelerator,
        loop: LoopConfig,
        optimizer: OptimizerConfig,
        output: Path,
    ) -> None:
        self.task, self.model, self.accelerator = task, model, accelerator
        self.loop, self.config, self.output = loop, optimizer, output
        parameters = trainable_parameters(accelerator.unwrap_model(model))
        average = WeightAverage(parameters, optimizer.ema) if optimizer.ema else None
        self.state = RunState(parameters, build_optimizers(parameters, optimizer), average)
        self.first = 0
        self.fingerprint = ""

    def resume(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.first = load_checkpoint(self.output / "checkpoint", self.state, fingerprint)
        if self.first:
            _LOGGER.info("continuing at step %d", self.first)

    def run(self) -> None:
        self.model.train()
        started = time.monotonic()
        last = self.loop.stop or self.loop.steps
        with (self.output / "metrics.jsonl").open("a", encoding="utf-8") as log:
            for step in range(self.first, last):
                metrics = self.step(step)
                done = step + 1
                if done % self.loop.log_every == 0 or done == last:
                    metrics |= {"step": done, "seconds": round(time.monotonic() - started, 1)}
                    log.write(json.dumps(metrics) + "\n")
                    log.flush()
                every = self.loop.checkpoint_every
                if done == last or (every and done % every == 0):
                    self.checkpoint(done)

    def step(self, step: int) -> dict[str, Any]:
        set_learning_rate(
            self.state.optimizers, schedule_factor(step, self.loop.steps, self.config)
        )
        # Noise is a function of seed, process and step, so a continued run repeats nothing and
        # an interrupted one loses nothing.
        rank = self.accelerator.process_index
        generator = torch.Generator(self.accelerator.device)
        generator.manual_seed((self.loop.seed * 1_000_003 + step) * 1024 + rank)
        batch = self.task.batch(step)
        with self.accelerator.autocast(), self.attention():
            losses = self.task.loss(self.model, batch, generator)
        if not torch.isfinite(losses["loss"]):
            message = f"The loss is {losses['loss'].item()} at step {step}; no weight was changed."
            raise FloatingPointError(message)
        self.accelerator.backward(losses["loss"])
        values = [value for _, value in self.state.parameters]
        norm = self.accelerator.clip_grad_norm_(values, self.config.clip)
        for optimizer in self.state.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if self.state.average is not None:
            self.state.average.update(self.state.parameters, step)
        scalars = {name: value.detach() for name, value in losses.items()} | {"gradient": norm}
        return {name: round(float(value), 6) for name, value in scalars.items()}

    def attention(self) -> contextlib.AbstractContextManager[None]:
        if self.loop.math_attention:
            return sdpa_kernel(SDPBackend.MATH)
        return contextlib.nullcontext()

    def checkpoint(self, step: int) -> None:
        if self.accelerator.is_main_process:
            save_checkpoint(self.output / "checkpoint", self.state, step, self.fingerprint)
        self.accelerator.wait_for_everyone()


def _fingerprint(recipe: Section) -> str:
    """Identity of a recipe: everything but where it writes and how often."""
    tree = recipe.model_dump(mode="json")
    tree.pop("output")
    for key in ("stop", "math_attention", "threads", "log_every", "checkpoint_every"):
        tree["loop"].pop(key)
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
