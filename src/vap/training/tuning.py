"""From a tuning recipe to a model that is ready to train, and what all tuning tasks share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from vap.files.folders import family_of
from vap.files.names import resolve_folder
from vap.loading.pipeline import load_transformer
from vap.process import is_first
from vap.training.methods import Strategy, strategy_for
from vap.training.methods.expert_method import restore_precision
from vap.training.parallel import check_residual
from vap.training.tracking import check_trackers
from vap.training.training_clips import clips_of
from vap.training.tuning_config import TuningStage
from vap.training.validation import Validation
from vap.training.variants import variant_of

_FROZEN_IN = {"no": torch.float32, "bf16": torch.bfloat16}


class TuningTask:
    """A transformer that a recipe's stage prepares, validates and saves."""

    model: nn.Module  # the transformer; what its strategy trains requires gradients

    def __init__(self, recipe: Any) -> None:
        self.recipe = recipe
        # First what needs no model, so that mistakes show before one is loaded.
        self.clips: Any = clips_of(recipe, recipe.model.start)
        self.batch: Any = self.clips.batch
        self.strategy = strategy_for(recipe)
        if is_first():
            check_trackers(recipe.run.trackers)
        self.validate_every = recipe.validation.every
        if self.validate_every:
            shown = self.strategy.reads_references
            self.validation = Validation(recipe, reads_references=shown)
        folder = resolve_folder(recipe.model.start)
        check_residual(recipe, family_of(folder))
        self.model = self.transformer = build_model(recipe, self.strategy)
        self.variant = variant_of(self.transformer, folder, recipe.flow)

    def validate(self, step: int, output: Path) -> dict[str, float]:
        """Generate some rows of a split that is not trained on."""
        return self.validation(self.transformer, step, output)

    def save(self, output: Path) -> None:
        """Write what was trained."""
        self.strategy.save(self.transformer, output)


def build_model(recipe: TuningStage, strategy: Strategy) -> Any:
    """Load the transformer and prepare it for a method."""
    torch.manual_seed(recipe.loop.seed)
    model = load_transformer(recipe.model.start, dtype=_FROZEN_IN[recipe.loop.precision])
    strategy.prepare(model, recipe.model)
    trained_in = getattr(torch, recipe.model.weights)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(trained_in)
    if recipe.model.expert is not None and trained_in != _FROZEN_IN[recipe.loop.precision]:
        restore_precision(model, recipe.model.expert)
    if recipe.model.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    return model
