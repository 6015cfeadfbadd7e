"""The stages of a training: each defines what trains and on which data for the trainer."""

from __future__ import annotations

import importlib
from contextlib import nullcontext
from pathlib import Path

from vap.files.weights import disk_errors
from vap.process import is_first
from vap.training.recipe import STAGES
from vap.training.sections import LoopConfig, Recipe
from vap.training.shared_folder import alone_in


def run_recipe(recipe: Recipe) -> Path:
    """Run one stage to its end.

    Args:
        recipe: A checked recipe; relative paths start from the working directory.

    Returns:
        The output folder.

    Raises:
        ValueError: If another run uses the output folder.
        FileNotFoundError: If an earlier stage's output is not where the recipe says.
        OSError: If the disk is full.
    """
    writes = isinstance(getattr(recipe, "loop", None), LoopConfig) and is_first()
    stage = importlib.import_module(STAGES[recipe.stage].runs)
    with disk_errors(recipe.output), alone_in(recipe.output) if writes else nullcontext():
        output: Path = stage.run(recipe)
    return output
