"""Stage ``dpo``: a trained model moves to winners over losers, by LoRA on its attention."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vap.training.methods.lora import without_updates
from vap.training.objectives.preference import preference_loss, win_margin
from vap.training.trainer import train
from vap.training.training_clips import PreferenceBatch
from vap.training.tuning import TuningTask
from vap.training.tuning_config import DPOStage
from vap.training.variants import Stream


def run(recipe: DPOStage) -> Path:
    """Train, and write the LoRA into the recipe's output folder."""
    return train(DPOTask(recipe), recipe, recipe.run)


class DPOTask(TuningTask):
    """Preference loss; the model without its updates is the reference model."""

    def loss(
        self, model: nn.Module, batch: PreferenceBatch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Mean preference loss; winner and loser share their noise level."""
        winner, loser, reference = (
            self.variant.stream(encodings, generator)
            for encodings in (batch.winner, batch.loser, batch.reference)
        )
        both, references = _joined(winner, loser), _joined(reference, reference)
        level = self.variant.objective.draw(len(batch.names), generator).repeat(2)
        state = generator.get_state()
        adapted = self.variant.loss(model, both, references, level, generator)
        with torch.no_grad(), without_updates(self.transformer):
            # The same noise for both models, or their difference would be noise.
            generator.set_state(state)
            original = self.variant.loss(self.transformer, both, references, level, generator)
        margin = win_margin(adapted, original)
        loss = preference_loss(margin, batch.weight.to(margin), self.recipe.beta)
        return {"loss": loss.mean(), "margin": margin.mean()}


def _joined(first: Stream, second: Stream) -> Stream:
    """Two streams as one batch: one pass of the model instead of two."""
    both: dict[str, Any] = {
        field.name: torch.cat([tensor, getattr(second, field.name)])
        for field in fields(first)
        if isinstance(tensor := getattr(first, field.name), Tensor)
    }
    return replace(first, **both)
