"""``vap train``: run one stage of a training recipe."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[Path, typer.Argument(help="YAML file of the stage.")],
    override: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value: --set loop.steps=100. Repeatable."),
    ] = None,
) -> None:
    """Run one stage of a training recipe; an interrupted run continues where it stopped."""
    from vap.training.config import RecipeError, load_recipe
    from vap.training.stages import run_recipe

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        checked = load_recipe(recipe, tuple(override or ()))
    except (FileNotFoundError, RecipeError) as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        raise typer.Exit(2) from error
    output = run_recipe(checked)
    typer.echo(f"wrote {output}")


if __name__ == "__main__":
    typer.run(train)
