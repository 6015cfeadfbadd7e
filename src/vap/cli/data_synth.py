"""``vap data synth``: list the conditions of VAP-Synth, or write pairs in VAP-Data's layout."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as Grid

from vap.cli.console import reporting
from vap.cli.data_console import print_counts, print_result, progress_bars
from vap.cli.data_options import AsJson
from vap.cli.options import App
from vap.data.rows import SynthSplit

app = App(
    name="synth",
    help="Render training pairs (no download), or list their conditions.",
    invoke_without_command=True,
)


@app.callback()
def synth(
    context: typer.Context,
    list_conditions: Annotated[
        bool, typer.Option("--list", help="List the 100 conditions and stop.")
    ] = False,
    count: Annotated[int, typer.Option(metavar="N", help="Pairs to write.", min=1)] = 100,
    split: Annotated[
        SynthSplit | None,
        typer.Option(
            metavar="NAME",
            help="Conditions and subjects to draw from: train (default), seen, heldout, unknown "
            "or backbone.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed of every random choice. Default: 0.")
    ] = None,
    height: Annotated[int | None, typer.Option(metavar="PIXELS", help="Default: 64.")] = None,
    width: Annotated[int | None, typer.Option(metavar="PIXELS", help="Default: 96.")] = None,
    frames: Annotated[
        int | None, typer.Option(metavar="N", help="Frames of each clip. Default: 17.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(metavar="RATE", help="Frames a second. Default: 16.")
    ] = None,
    effect_in_caption: Annotated[
        float | None,
        typer.Option(
            metavar="0…1", help="Share of pairs whose captions name the effect. Default: 0.1."
        ),
    ] = None,
    varied: Annotated[
        float | None,
        typer.Option(metavar="0…1", help="Share of pairs that show a variation. Default: 0."),
    ] = None,
    mixed: Annotated[
        float | None,
        typer.Option(
            metavar="0…1",
            help="Share of these that are also turned sideways or shown beside another condition. "
            "Default: 0.",
        ),
    ] = None,
    drawn: Annotated[
        float | None,
        typer.Option(
            metavar="0…1",
            help="Share of pairs without photographs and noise-like textures. Default: 0.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FOLDER", help="Folder to write or to continue."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the conditions with --list, or write --count pairs to --output."""
    with reporting(as_json=as_json):
        if list_conditions:
            _show_conditions(as_json)
            return
        if output is None:
            raise ValueError("Nothing to do: give a folder with -o FOLDER, or --list.")
        from vap.synth.writing import SynthSettings, write_pairs

        given = {
            "split": split,
            "seed": seed,
            "height": height,
            "width": width,
            "frames": frames,
            "fps": fps,
            "effect_in_caption": effect_in_caption,
            "varied": varied,
            "mixed": mixed,
            "drawn": drawn,
        }
        chosen: dict[str, Any] = {k: value for k, value in given.items() if value is not None}
        settings = SynthSettings(**chosen)
        with progress_bars() as progress:
            table = write_pairs(count, output, settings, progress=progress)
        print_counts({"pairs": count, "table": str(table), **asdict(settings)}, as_json)
    context.exit(0)


def _show_conditions(as_json: bool) -> None:
    """The conditions as a table, or as JSON with their parameters."""
    from vap.synth import CONDITIONS

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
