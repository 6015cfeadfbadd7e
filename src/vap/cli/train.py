"""``vap train``: run one stage of a training recipe."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from vap.cli import options
from vap.cli.console import quiet_libraries, reporting, results, show_json


def train(
    recipe: Annotated[Path, typer.Argument(help="YAML file of the stage.", show_default=False)],
    override: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value: --set loop.steps=100. Repeatable."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Run one stage of a training recipe; an interrupted run continues where it stopped."""
    with reporting(as_json=as_json):
        from vap.training.config import load_recipe
        from vap.training.stages import run_recipe

        quiet_libraries()
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        output = run_recipe(load_recipe(recipe, tuple(override or ())))
        if as_json:
            show_json({"output": str(output)})
        else:
            results.print(f"wrote [bold]{output}[/]")
