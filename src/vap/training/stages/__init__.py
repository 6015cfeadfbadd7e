"""The stages of a model: each says what trains and on what; the trainer does the rest.

Each module has the name of its stage and a function ``run(recipe)`` that returns the output folder.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from vap.training.config import Recipe
from vap.weights import disk_errors


def run_recipe(recipe: Recipe) -> Path:
    """Run one stage to its end.

    Args:
        recipe: A checked recipe; relative paths are taken from the working directory.

    Returns:
        The output folder.

    Raises:
        FileNotFoundError: If an earlier stage's output is not where the recipe says.
        OSError: If the disk is full.
    """
    # Imported by name, so that a stage costs the imports of its own networks only.
    stage = importlib.import_module(f"{__name__}.{recipe.stage}")
    with disk_errors(recipe.output):
        output: Path = stage.run(recipe)
    return output
