"""From a tuning recipe to a model that is ready to train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vap.hub import load_transformer, resolve_folder
from vap.training.alternatives import Strategy
from vap.training.tuning_config import TuningStage

_FROZEN_IN = {"no": torch.float32, "bf16": torch.bfloat16}


def build_model(recipe: TuningStage, strategy: Strategy) -> Any:
    """Load the transformer and prepare it for a method.

    Args:
        recipe: Model, precision and seed.
        strategy: What trains.
    """
    torch.manual_seed(recipe.loop.seed)
    model = load_transformer(recipe.model.start, dtype=_FROZEN_IN[recipe.loop.precision])
    strategy.prepare(model, recipe.model)
    trained_in = getattr(torch, recipe.model.weights)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(trained_in)
    if recipe.model.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    return model


def model_folder(recipe: TuningStage) -> Path:
    """Pipeline folder that a recipe starts from."""
    return resolve_folder(recipe.model.start)
