"""The training loop: one for every stage, which only defines what a step computes."""

from __future__ import annotations

import logging
import math
import time
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DistributedDataParallelKwargs,
    InitProcessGroupKwargs,
    KwargsHandler,
    gather_object,
)
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vap.acceleration.compile import compile_blocks
from vap.devices import note_slow_half
from vap.training.checkpoints import RunState, load_checkpoint, save_checkpoint
from vap.training.optimizers import (
    WeightAverage,
    build_optimizers,
    schedule_factor,
    set_learning_rate,
    trainable_parameters,
)
from vap.training.parallel import (
    Layout,
    check_validation,
    full_tensor,
    gather,
    layout_of,
    no_sync,
    spread,
    sum_gradients,
)
from vap.training.recipe_identity import identity_of
from vap.training.sections import TrainingRecipe
from vap.training.shared_folder import check_shared
from vap.training.tracking import RunProgress, metrics_of_run
from vap.training.tuning_config import RunConfig

_LOGGER = logging.getLogger(__name__)
_LONGEST_VALIDATION = timedelta(hours=12)


class Task(Protocol):
    """What a stage trains and how a step's loss is computed.

    One that validates also has ``validate_every``, the steps between, and ``validate(step,
    output)``, which writes videos and returns metrics.
    """

    model: nn.Module  # the module whose parameters with ``requires_grad`` are trained

    def batch(self, step: int) -> Any:
        """The samples of a step, a function of the step and the recipe's seed alone."""

    def loss(self, model: nn.Module, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """Scalars of a step: ``"loss"`` is minimized, the others are logged."""

    def save(self, output: Path) -> None:
        """Write the trained parts into the output folder."""


def train(
    task: Task,
    recipe: TrainingRecipe,
    run: RunConfig = RunConfig(),  # noqa: B008 - immutable
) -> Path:
    """Train a task to its last step, continuing from its checkpoint if there is one.

    Args:
        task: What is trained.
        recipe: Its ``output`` folder receives checkpoints, ``metrics.jsonl`` and trained parts.
        run: Processes, accumulation and trackers.

    Returns:
        The output folder.

    Raises:
        FloatingPointError: If loss or gradients are not finite; weights are as before that step.
        ValueError: If the checkpoint in the output folder belongs to another recipe, the number of
            processes does not fit, or they do not all see the same output folder.
    """
    loop, output = recipe.loop, recipe.output
    if loop.threads:
        torch.set_num_threads(loop.threads)
    output.mkdir(parents=True, exist_ok=True)
    validate_every = getattr(task, "validate_every", 0)
    # Nothing reads the last expert block's own output, so some weights get no gradient.
    handlers: list[KwargsHandler] = [DistributedDataParallelKwargs(find_unused_parameters=True)]
    if validate_every:
        # The others wait for the first process, which generates: longer than NCCL's ten minutes.
        handlers.append(InitProcessGroupKwargs(timeout=_LONGEST_VALIDATION))
    accelerator = Accelerator(
        # By default, Accelerate takes processes on CPUs for as many independent runs.
        cpu=not torch.accelerator.is_available(),
        mixed_precision=loop.precision,
        kwargs_handlers=handlers,
    )
    if loop.precision == "bf16":
        note_slow_half(accelerator.device)
    layout = layout_of(run, accelerator.num_processes, accelerator.process_index)
    check_validation(validate_every, layout)
    check_shared(output, layout.rank, gather)
    if loop.compile:
        compile_repeated_blocks(task.model)
    training = _Run(task, spread(task.model, layout, accelerator), accelerator, recipe, run, layout)
    training.run(validate_every)
    if training.state.average is not None:
        training.state.average.copy_to(training.state.parameters)
    # Weights that are spread are gathered while saving, which takes every process.
    if accelerator.is_main_process or layout.sharded:
        task.save(output)
    accelerator.wait_for_everyone()
    return output


def compile_repeated_blocks(model: nn.Module) -> None:
    """Compile every repeated block of the transformers inside a model, in place.

    A model names the classes of its repeated blocks (``_repeated_blocks``, as in diffusers); they
    share one compiled graph, and weights keep their names.
    """
    repeated = {name for part in model.modules() for name in getattr(part, "_repeated_blocks", [])}
    blocks = [part for part in model.modules() if type(part).__name__ in repeated]
    if not blocks:
        raise ValueError(
            f"loop.compile is on, and {type(model).__name__} has no repeated blocks. "
            "Set loop.compile to false."
        )
    compile_blocks(blocks)


class _Run:
    """One run's moving parts: the loop below is all there is to a step."""

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        accelerator: Accelerator,
        recipe: TrainingRecipe,
        run: RunConfig,
        layout: Layout,
    ) -> None:
        self.task, self.model, self.accelerator = task, model, accelerator
        self.loop, self.config, self.settings = recipe.loop, recipe.optimizer, run
        self.layout, self.output = layout, recipe.output
        parameters = trainable_parameters(accelerator.unwrap_model(model))
        average = WeightAverage(parameters, self.config.ema) if self.config.ema else None
        optimizers = build_optimizers(parameters, self.config, self.loop.seed)
        self.state = RunState(parameters, optimizers, average)
        self.identity = identity_of(recipe)

    def run(self, validate_every: int) -> None:
        first, last = self.resume(), self.loop.stop or self.loop.steps
        self.model.train()
        started = time.monotonic()
        unwritten: list[dict[str, float]] = []
        rank = self.layout.rank
        progress = RunProgress(first, last, shown=rank == 0)
        with metrics_of_run(self.output, self.settings, first, rank) as write, progress:
            for step in range(first, last):
                factor = schedule_factor(step, self.loop.steps, self.config)
                set_learning_rate(self.state.optimizers, factor)
                rate = factor * self.config.learning_rate
                unwritten.append(self.step(step))
                done = step + 1
                progress.step(done, unwritten[-1]["loss"], rate)
                if done % self.loop.log_every == 0 or done == last:
                    means = _means(unwritten)
                    progress.line(done, means["loss"], rate)
                    write(done, means | {"seconds": round(time.monotonic() - started, 3)})
                    unwritten.clear()
                every = self.loop.checkpoint_every
                if done == last or (every and done % every == 0):
                    folder = self.output / "checkpoint"
                    save_checkpoint(folder, self.state, done, self.identity, self.layout, gather)
                if validate_every and done % validate_every == 0 and rank == 0:
                    write(done, self.validate(done))

    def resume(self) -> int:
        """Load the checkpoint, if there is one; return the first step."""
        folder, last = self.output / "checkpoint", self.loop.stop or self.loop.steps
        first = load_checkpoint(folder, self.state, self.identity, self.layout, gather)
        if first > last:
            raise ValueError(
                f"The checkpoint {folder} is at step {first}, and this recipe ends at {last}. "
                "Increase loop.steps (or loop.stop), or set output to a new folder."
            )
        if first:
            _LOGGER.info("continuing at step %d", first)
        return first

    def validate(self, step: int) -> dict[str, float]:
        """Validate the weights that would be written now."""
        task: Any = self.task
        average, parameters = self.state.average, self.state.parameters
        with nullcontext() if average is None else average.in_place(parameters):
            scores: dict[str, float] = task.validate(step, self.output)
        self.model.train()
        return scores

    def step(self, step: int) -> dict[str, float]:
        sums: dict[str, Tensor] = {}
        count = self.settings.accumulate
        for part in range(count):
            last = part == count - 1
            with nullcontext() if last else no_sync(self.model, self.layout, self.accelerator):
                losses = self.accumulate(step, part)
            for name, value in losses.items():
                sums[name] = sums.get(name, value.new_zeros(())) + value.detach()
        sum_gradients(self.state.parameters, self.layout)
        values = [value for _, value in self.state.parameters]
        norm = full_tensor(self.accelerator.clip_grad_norm_(values, self.config.clip))
        if not torch.isfinite(norm):
            raise FloatingPointError(self.gradient_fault(step))
        for optimizer in self.state.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if self.state.average is not None:
            self.state.average.update(self.state.parameters, step)
        scalars = {name: value / count for name, value in sums.items()}
        if self.accelerator.num_processes > 1:
            scalars = self.accelerator.reduce(scalars, "mean")
        scalars["gradient"] = norm
        return {name: float(value) for name, value in scalars.items()}

    def accumulate(self, step: int, part: int) -> dict[str, Tensor]:
        """Add one batch's gradients to those of the step."""
        # Batch and noise are functions of the seed and the batch's number over all processes, so
        # a continued run repeats nothing, and two processes do what one does with twice as many
        # batches a step.
        place = self.layout.rank // self.layout.context
        number = (step * self.settings.accumulate + part) * self.layout.batches + place
        generator = torch.Generator(self.accelerator.device)
        generator.manual_seed((self.loop.seed * 1_000_003 + number) * 1024)
        batch = self.task.batch(number)
        kernel = sdpa_kernel(SDPBackend.MATH) if self.loop.math_attention else nullcontext()
        with self.accelerator.autocast(), kernel:
            losses = self.task.loss(self.model, batch, generator)
        check_finite(self.accelerator, losses["loss"], batch, step)
        self.accelerator.backward(losses["loss"] / self.settings.accumulate)
        return losses

    def gradient_fault(self, step: int) -> str:
        """Which gradient is not finite."""
        first = next(
            (
                name
                for name, value in self.state.parameters
                if value.grad is not None and not torch.isfinite(full_tensor(value.grad)).all()
            ),
            "their norm",
        )
        return f"Gradients are not finite at step {step}: {first}; no weight was changed."


def check_finite(accelerator: Accelerator, loss: Tensor, batch: Any, step: int) -> None:
    """Stop every process if the loss of one is not finite, naming that one and its clips."""
    finite = torch.isfinite(loss.detach()).reshape(1)
    if accelerator.gather(finite).all():
        return
    fault = None
    if not finite.item():
        names = ", ".join(getattr(batch, "names", ()))
        of = f"process {accelerator.process_index}{' on ' + names if names else ''}"
        fault = f"The loss is {loss.item()} at step {step} in {of}"
    found = [each for each in gather_object([fault]) if each]
    more = f"; the same in {len(found) - 1} other processes" if len(found) > 1 else ""
    raise FloatingPointError(f"{found[0]}{more}; no weight was changed.")


def _means(steps: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each number over some steps, because the loss of one step is noisy."""
    return {
        name: round(math.fsum(step[name] for step in steps) / len(steps), 6) for name in steps[0]
    }
