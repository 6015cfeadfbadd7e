"""``vap models``: models that can be named."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from vap.cli.console import messages, reporting, show_json


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List models that ship with the package or are published; any pipeline folder works too."""
    with reporting(as_json=as_json):
        from vap.hub import known_models

        entries = known_models()
        if as_json:
            show_json([asdict(entry) for entry in entries])
            return
        table = Table("model", "variant", "where", "what")
        for entry in entries:
            table.add_row(entry.name, entry.family, entry.where, entry.description)
        messages.print(table)
