"""Stage ``distill``: a LoRA on the frozen backbone learns to sample in few steps, without guidance.

Phased consistency (Wang et al. 2024) or progressive distillation (Salimans and Ho 2022).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import CogVideoXDPMScheduler
from torch import Tensor, nn

from vap.acceleration.student import first_order
from vap.loading.pipeline import load_scheduler
from vap.models.reference_cache import GenerationMemory, StepMemory
from vap.pipelines.denoise import Reuse, SchedulerStep
from vap.pipelines.denoiser import Guidance
from vap.training.methods.lora import without_updates
from vap.training.objectives.consistency import (
    PhasePoints,
    consistency_loss,
    draw_points,
)
from vap.training.trainer import train
from vap.training.training_clips import PairBatch
from vap.training.tuning import TuningTask
from vap.training.tuning_config import DistillStage
from vap.training.variants import Stream, noise_like


def run(recipe: DistillStage) -> Path:
    """Train, and write the LoRA into the recipe's output folder."""
    task = _TASKS[recipe.objective](recipe)
    return train(task, recipe, recipe.run)


class DistillTask(TuningTask, ABC):
    """A student that takes few steps; the model without its updates is the guided teacher."""

    def __init__(self, recipe: DistillStage) -> None:
        super().__init__(recipe)
        self.substeps = recipe.substeps
        self.guidance = Guidance(recipe.guidance, reference=recipe.reference_guidance)

    def loss(
        self, model: nn.Module, batch: PairBatch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Distance between where the student's steps lead and where they should."""
        target = self.variant.stream(batch.target, generator)
        reference = self.variant.stream(batch.reference, generator)
        return {"loss": self.distance(model, target, reference, generator)}

    @abstractmethod
    def distance(
        self, model: nn.Module, target: Stream, reference: Stream, generator: torch.Generator
    ) -> Tensor:
        """The objective, a mean over the batch."""

    def guided(self, noisy: Tensor, target: Stream, reference: Stream, level: Tensor) -> Tensor:
        """The model's prediction, moved as the pipelines' guidance moves theirs."""
        unconditional = by_reference = None
        conditional = self.variant.predict(self.transformer, noisy, target, reference, level)
        if self.guidance.enabled:
            bare = self.uncaptioned(target), self.uncaptioned(reference)
            unconditional = self.variant.predict(self.transformer, noisy, *bare, level)
        if self.guidance.by_reference:
            no_reference = self.variant.predict(self.transformer, noisy, target, None, level)
            by_reference = conditional - no_reference
        return self.guidance.moved(conditional, unconditional, by_reference, level)

    def uncaptioned(self, stream: Stream) -> Stream:
        """A stream under the empty caption, as guidance replaces both at inference."""
        empty = self.clips.empty_text().to(stream.text)
        return replace(stream, text=empty.expand_as(stream.text))


class ConsistencyTask(DistillTask):
    """Phased consistency: neighboring points of the path lead to the same end of a phase."""

    def __init__(self, recipe: DistillStage) -> None:
        super().__init__(recipe)
        scheduler = load_scheduler(recipe.model.start)
        self.schedule = self.variant.schedule(scheduler, recipe.steps * recipe.substeps)

    def distance(
        self, model: nn.Module, target: Stream, reference: Stream, generator: torch.Generator
    ) -> Tensor:
        """Between the student's steps from two neighboring points to the phase's end."""
        points = draw_points(self.schedule, self.substeps, len(target.latents), generator)
        noise = noise_like(target.latents, generator)
        noisy = self.variant.objective.add_noise(target.latents, noise, points.start)
        prediction = self.variant.predict(model, noisy, target, reference, points.start)
        student = self.variant.objective.step(noisy, prediction, points.start, points.end)
        with torch.no_grad():
            goal = self.goal(noisy, target, reference, points)
        return consistency_loss(student, goal).mean()

    def goal(self, noisy: Tensor, target: Stream, reference: Stream, points: PhasePoints) -> Tensor:
        """Where the student steps to after one step of the teacher."""
        with without_updates(self.transformer):
            prediction = self.guided(noisy, target, reference, points.start)
        near = self.variant.objective.step(noisy, prediction, points.start, points.neighbor)
        prediction = self.variant.predict(
            self.transformer, near, target, reference, points.neighbor
        )
        return self.variant.objective.step(near, prediction, points.neighbor, points.end)


class PathTask(DistillTask):
    """Progressive distillation: the student steps from end to end of the phases, as it samples."""

    def __init__(self, recipe: DistillStage) -> None:
        super().__init__(recipe)
        sampler = load_scheduler(recipe.model.start)
        # A path with fresh noise at every step leads nowhere that could be learnt.
        random = isinstance(sampler, CogVideoXDPMScheduler)
        self.sampler = first_order(sampler) if random else sampler
        self.steps = recipe.steps * recipe.substeps
        self.works = Reuse(references=recipe.references_every).schedule(recipe.steps)
        # Once for nothing: a recipe that does not fit the sampler is refused before it starts.
        self.variant.set_sampler(self.sampler, self.steps)

    def distance(
        self, model: nn.Module, target: Stream, reference: Stream, generator: torch.Generator
    ) -> Tensor:
        """Squared, between the student's steps, each from where the last ended, and the path."""
        noise = noise_like(target.latents, generator)
        ends, goals = self.path(noise, target, reference)
        place, errors, memory = noise, [], GenerationMemory()
        for start, end, goal, work in zip(ends[:-1], ends[1:], goals, self.works, strict=True):
            step = StepMemory(use=work.references)
            prediction = self.variant.predict(model, place, target, reference, start, memory, step)
            place = self.variant.objective.step(place, prediction, start, end)
            errors.append(F.mse_loss(place, goal))
            place = place.detach()
        return torch.stack(errors).mean()

    @torch.no_grad()
    def path(
        self, noise: Tensor, target: Stream, reference: Stream
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The guided teacher's path.

        Returns:
            Levels of the phases' ends, each ``[B]``, that of the noise first, and the latents at
            all but the first.
        """
        levels = self.variant.set_sampler(self.sampler, self.steps).to(noise.device)
        levels = levels.unsqueeze(1).expand(-1, len(noise))
        step, latents, goals = SchedulerStep(self.sampler), noise, []
        with without_updates(self.transformer):
            for index, timestep in enumerate(self.sampler.timesteps):
                prediction = self.guided(latents, target, reference, levels[index])
                latents = step(prediction, timestep, latents)
                if (index + 1) % self.substeps == 0:
                    goals.append(latents)
        return list(levels[:: self.substeps]), goals


_TASKS: dict[str, type[DistillTask]] = {"consistency": ConsistencyTask, "path": PathTask}
