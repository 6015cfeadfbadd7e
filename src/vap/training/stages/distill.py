"""Stage ``distill``: a LoRA on the frozen backbone takes few steps, and guidance, in one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from vap.pipelines.denoise import Guidance
from vap.training.alternatives.lora import without_updates
from vap.training.clips import PairBatch, PairedClips
from vap.training.objectives.consistency import (
    PhasePoints,
    consistency_loss,
    draw_points,
)
from vap.training.trainer import train
from vap.training.tuning import TuningTask
from vap.training.tuning_config import DistillStage
from vap.training.variants import Stream


def run(recipe: DistillStage) -> Path:
    """Train, and write the LoRA into the recipe's output folder."""
    return train(DistillTask(recipe), recipe, recipe.loop, recipe.optimizer, recipe.run)


class DistillTask(TuningTask):
    """Phased consistency; the model without its updates is the teacher."""

    def __init__(self, recipe: DistillStage) -> None:
        # First: data that is not there is missed before a model is loaded.
        self.clips = PairedClips(recipe.data, recipe.loop.batch_size, recipe.loop.seed)
        super().__init__(recipe)
        self.substeps = recipe.substeps
        self.guidance = Guidance(recipe.guidance, reference=recipe.reference_guidance)
        self.schedule = self.variant.schedule(recipe.steps * recipe.substeps)

    def batch(self, step: int) -> PairBatch:
        """Targets and references of a batch."""
        return self.clips.batch(step)

    def loss(
        self, model: nn.Module, batch: PairBatch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Distance between the student's steps from two neighbouring points to the phase's end."""
        target = self.variant.stream(batch.target, generator)
        reference = self.variant.stream(batch.reference, generator)
        points = draw_points(self.schedule, self.substeps, len(batch.names), generator)
        noisy = self.variant.noised(target, points.start, generator)
        said = self.variant.predict(model, noisy, target, reference, points.start)
        student = self.variant.moved(noisy, said, points.start, points.end)
        with torch.no_grad():
            goal = self.goal(noisy, target, reference, points)
        return {"loss": consistency_loss(student, goal).mean()}

    def goal(self, noisy: Tensor, target: Stream, reference: Stream, points: PhasePoints) -> Tensor:
        """Where the student steps to after one step of the teacher."""
        with without_updates(self.transformer):
            said = self.guided(noisy, target, reference, points.start)
        near = self.variant.moved(noisy, said, points.start, points.neighbour)
        said = self.variant.predict(self.transformer, near, target, reference, points.neighbour)
        return self.variant.moved(near, said, points.neighbour, points.end)

    def guided(self, noisy: Tensor, target: Stream, reference: Stream, level: Tensor) -> Tensor:
        """The model's prediction, moved as the pipelines' guidance moves theirs."""
        unsaid = by_reference = None
        said = self.variant.predict(self.transformer, noisy, target, reference, level)
        if self.guidance.enabled:
            bare = self.uncaptioned(target), self.uncaptioned(reference)
            unsaid = self.variant.predict(self.transformer, noisy, *bare, level)
        if self.guidance.by_reference:
            unseen = self.variant.predict(self.transformer, noisy, target, None, level)
            by_reference = said - unseen
        return self.guidance.moved(said, unsaid, by_reference, level)

    def uncaptioned(self, stream: Stream) -> Stream:
        """A stream under the empty caption, as guidance replaces both at inference."""
        empty = self.clips.empty_text().to(stream.text)
        return replace(stream, text=empty.expand_as(stream.text))
