"""``vap models``: models that can be named."""

from __future__ import annotations

from dataclasses import asdict

from vap.cli import options
from vap.cli.console import reporting, results, show_json


def models(
    as_json: options.AsJson = False,
) -> None:
    """List the bundled and the published models that --model knows by name."""
    with reporting(as_json=as_json):
        from vap.files.names import known_models

        entries = known_models()
        if as_json:
            show_json([asdict(entry) for entry in entries])
            return
        for entry in entries:
            alias = f" ({entry.alias})" if entry.alias else ""
            results.print(f"{entry.name}{alias}", style="bold")
            results.print(f"  {entry.family} variant, {entry.where}: {entry.description}")
