"""``vap expert``: the expert as a file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from vap.cli import options
from vap.cli.console import quiet_libraries, reporting, results, show_json
from vap.cli.options import App

app = App(help="Extract the expert of a model, or show an expert file.", no_args_is_help=True)


@app.command("extract")
def extract(
    model: Annotated[str, typer.Argument(help="Bundled name, pipeline folder or Hub id.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .safetensors file to write.")],
    description: Annotated[str, typer.Option(help="Text to store in the file's header.")] = "",
    as_json: options.AsJson = False,
) -> None:
    """Save the expert of a model as one file, to load with the same backbone elsewhere."""
    with reporting(as_json=as_json):
        quiet_libraries()
        from vap.generation.request import check_place
        from vap.loading.pipeline import load_transformer
        from vap.models.expert_file import read_expert_info

        check_place(output)
        load_transformer(model).save_expert(output, description=description)
        _show(read_expert_info(output), as_json=as_json)


@app.command("info")
def info(
    file: Annotated[Path, typer.Argument(help="Expert file.")],
    as_json: options.AsJson = False,
) -> None:
    """Show the contents of an expert file."""
    with reporting(as_json=as_json):
        from vap.models.expert_file import read_expert_info

        _show(read_expert_info(file), as_json=as_json)


def _show(found: Any, *, as_json: bool) -> None:
    summary = {
        "file": str(found.path),
        "transformer": found.transformer,
        "depths": list(found.depths),
        "reference_positions": found.reference_positions,
        "tensors": len(found.shapes),
        "parameters": found.parameters,
        "description": found.description,
    }
    if as_json:
        show_json(summary)
        return
    table = Table.grid(padding=(0, 2))
    for key, value in summary.items():
        said = f"{value:,}" if isinstance(value, int) else str(value)
        table.add_row(key.replace("_", " "), said)
    results.print(table)
