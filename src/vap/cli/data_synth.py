"""``vap data synth``: list the conditions of VAP-Synth, or write pairs in VAP-Data's layout."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table as Grid

from vap.cli.console import reporting
from vap.cli.data_console import print_counts, print_result, progress_bars
from vap.synth import CONDITIONS, Split
from vap.synth.writing import SynthSettings, write_pairs

app = typer.Typer(
    name="synth",
    help="Procedural pairs that need no download: list the conditions or write videos.",
    invoke_without_command=True,
)
_DEFAULTS = SynthSettings()


@app.callback()
def synth(
    context: typer.Context,
    list_conditions: Annotated[
        bool, typer.Option("--list", help="List the 100 conditions and stop.")
    ] = False,
    count: Annotated[int, typer.Option(help="Pairs to write.", min=1)] = 100,
    split: Annotated[
        Split, typer.Option(help="Which conditions and subjects to draw from.")
    ] = _DEFAULTS.split,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.", min=0)] = _DEFAULTS.seed,
    height: Annotated[int, typer.Option(help="Height in pixels.")] = _DEFAULTS.height,
    width: Annotated[int, typer.Option(help="Width in pixels.")] = _DEFAULTS.width,
    frames: Annotated[int, typer.Option(help="Frames of each clip.")] = _DEFAULTS.frames,
    fps: Annotated[float, typer.Option(help="Frames a second.")] = _DEFAULTS.fps,
    effect_in_caption: Annotated[
        float, typer.Option(help="Share of pairs whose captions tell the effect.", min=0, max=1)
    ] = _DEFAULTS.effect_in_caption,
    varied: Annotated[
        float,
        typer.Option(help="Share of pairs that show a variation of their condition.", min=0, max=1),
    ] = _DEFAULTS.varied,
    mixed: Annotated[
        float,
        typer.Option(
            help="Share of these that also lie sideways or stand beside another condition.",
            min=0,
            max=1,
        ),
    ] = _DEFAULTS.mixed,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder to write or to continue.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """List the conditions with --list, or write --count pairs to --out."""
    with reporting(as_json=as_json):
        if list_conditions:
            _show_conditions(as_json)
            return
        if out is None:
            message = "Nothing to do: give a folder with -o DIR, or --list."
            raise ValueError(message)
        settings = SynthSettings(
            split, seed, height, width, frames, fps, effect_in_caption, varied, mixed
        )
        with progress_bars() as progress:
            table = write_pairs(count, out, settings, progress=progress)
        print_counts({"pairs": count, "table": str(table), **asdict(settings)}, as_json)
    context.exit(0)


def _show_conditions(as_json: bool) -> None:
    """The conditions as a table, or as JSON with their parameters."""
    rows = [
        {
            "name": condition.name,
            "category": condition.category,
            "exposure": condition.exposure,
            "phrase": condition.phrase,
            "parameters": {
                name: asdict(parameter) for name, parameter in condition.parameters.items()
            },
        }
        for condition in CONDITIONS.values()
    ]

    def show(out: Console) -> None:
        grid = Grid("condition", "category", "training", "effect")
        for condition in CONDITIONS.values():
            grid.add_row(condition.name, condition.category, condition.exposure, condition.phrase)
        out.print(grid)
        kinds = Counter(condition.category for condition in CONDITIONS.values())
        out.print(
            f"{len(CONDITIONS)} conditions: " + ", ".join(f"{n} {k}" for k, n in kinds.items())
        )

    print_result({"conditions": rows}, as_json, show)
