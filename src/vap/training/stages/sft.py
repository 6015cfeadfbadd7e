"""Stage ``sft``: targets with references, by the paper's expert or one of its alternatives."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from vap.training.alternatives import strategy_of
from vap.training.clips import PairBatch, PairedClips
from vap.training.trainer import train
from vap.training.tuning import build_model, model_folder
from vap.training.tuning_config import SFTStage
from vap.training.validation import Validation
from vap.training.variants import variant_of


def run(recipe: SFTStage) -> Path:
    """Train, and write the result into the recipe's output folder."""
    return train(SFTTask(recipe), recipe, recipe.loop, recipe.optimizer, recipe.run)


class SFTTask:
    """The variant's objective on targets, references clean.

    Attributes:
        model: The transformer; what its method trains requires gradients.
        validate_every: Steps between validations; 0 for none.
    """

    model: nn.Module

    def __init__(self, recipe: SFTStage) -> None:
        self.strategy = strategy_of(recipe.model.method)
        self.clips = PairedClips(recipe.data, recipe.loop.batch_size, recipe.loop.seed)
        self.model = self.transformer = build_model(recipe, self.strategy)
        self.variant = variant_of(self.transformer, model_folder(recipe), recipe.flow)
        self.validate_every = recipe.validation.every
        self.validation = Validation.of(
            recipe, self.transformer, reads_references=self.strategy.reads_references
        )

    def batch(self, step: int) -> PairBatch:
        """Targets and references of a batch."""
        return self.clips.batch(step)

    def loss(
        self, model: nn.Module, batch: PairBatch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Mean loss of the batch, each sample at a noise level of its own."""
        target = self.variant.stream(batch.target, generator)
        reference = None
        if self.strategy.reads_references:
            reference = self.variant.stream(batch.reference, generator)
        level = self.variant.noise_levels(len(batch.names), generator)
        return {"loss": self.variant.loss(model, target, reference, level, generator).mean()}

    def validate(self, step: int, output: Path) -> dict[str, float]:
        """Generate some rows of a split that is not trained on."""
        assert self.validation is not None
        return self.validation(step, output)

    def save(self, output: Path) -> None:
        """Write what the method trained."""
        self.strategy.save(self.transformer, output)
