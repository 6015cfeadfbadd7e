"""Stage ``sft``: targets with references, by the paper's expert or one of its alternatives."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from vap.training.trainer import train
from vap.training.training_clips import PairBatch
from vap.training.tuning import TuningTask
from vap.training.tuning_config import SFTStage


def run(recipe: SFTStage) -> Path:
    """Train, and write the result into the recipe's output folder."""
    return train(SFTTask(recipe), recipe, recipe.run)


class SFTTask(TuningTask):
    """The variant's objective on targets, references clean."""

    def loss(
        self, model: nn.Module, batch: PairBatch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Mean loss of the batch, each sample at a noise level of its own."""
        target = self.variant.stream(batch.target, generator)
        reference = None
        if self.strategy.reads_references:
            reference = self.variant.stream(batch.reference, generator)
        level = self.variant.objective.draw(len(batch.names), generator)
        return {"loss": self.variant.loss(model, target, reference, level, generator).mean()}
