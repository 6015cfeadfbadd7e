"""The stages of a model: each says what trains and on what; the trainer does the rest."""

from __future__ import annotations

from pathlib import Path

from vap.training.config import (
    BackboneStage,
    EvaluateStage,
    ExpertStage,
    ExportStage,
    LatentsStage,
    Recipe,
    VAEStage,
)


def run_recipe(recipe: Recipe) -> Path:
    """Run one stage to its end.

    Args:
        recipe: A checked recipe; relative paths are taken from the working directory.

    Returns:
        The output folder.

    Raises:
        FileNotFoundError: If an earlier stage's output is not where the recipe says.
    """
    from vap.training.trainer import train

    if isinstance(recipe, VAEStage):
        from vap.training.stages.vae import VAETask

        return train(VAETask(recipe), recipe, recipe.loop, recipe.optimizer)
    if isinstance(recipe, LatentsStage):
        from vap.training.stages.latents import encode_pairs

        return encode_pairs(recipe)
    if isinstance(recipe, BackboneStage):
        from vap.training.stages.backbone import BackboneTask

        return train(BackboneTask(recipe), recipe, recipe.loop, recipe.optimizer)
    if isinstance(recipe, ExpertStage):
        from vap.training.stages.expert import ExpertTask

        return train(ExpertTask(recipe), recipe, recipe.loop, recipe.optimizer)
    if isinstance(recipe, ExportStage):
        from vap.training.stages.export import export_pipeline

        return export_pipeline(recipe)
    if isinstance(recipe, EvaluateStage):
        from vap.training.stages.evaluate import evaluate

        return evaluate(recipe)
    message = f"No stage runs {type(recipe).__name__}."
    raise TypeError(message)
