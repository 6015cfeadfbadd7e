"""Arguments and options that several commands of ``vap data`` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from vap.data.rows import OnError

TableFile: TypeAlias = Annotated[
    Path, typer.Argument(metavar="TABLE", help="A .csv or .parquet table.")
]
OutTable: TypeAlias = Annotated[
    Path, typer.Option("-o", "--output", metavar="FILE", help="The .csv or .parquet to write.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Root: TypeAlias = Annotated[
    Path | None, typer.Option(help="Folder that the paths are relative to.")
]
Seed: TypeAlias = Annotated[int, typer.Option(help="Seed of every random choice.")]
Faulty: TypeAlias = Annotated[
    OnError, typer.Option("--on-error", help="Stop at rows with errors, or skip them.")
]
Splits: TypeAlias = Annotated[
    list[str] | None, typer.Option("--split", help="Use only this split. Repeatable.")
]
