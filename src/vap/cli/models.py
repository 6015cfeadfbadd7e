"""``vap models``: models that can be named."""

from __future__ import annotations

from dataclasses import asdict

from vap.cli import options
from vap.cli.console import note, reporting, results, show_json


def models(
    as_json: options.AsJson = False,
) -> None:
    """List models that ship with the package or are published; any pipeline folder works too."""
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


def note_demonstration(*models: str) -> None:
    """Say what the default model is, where it is among those about to run."""
    from vap.cost.released import planned_model
    from vap.files.names import DEFAULT_MODEL

    if DEFAULT_MODEL not in models:
        return
    planned = planned_model(DEFAULT_MODEL)
    assert planned is not None
    note(
        f"{DEFAULT_MODEL} is a demonstration model of {planned.shape.height}×"
        f"{planned.shape.width} pixels. For real videos use --model wan or --model cogvideox; "
        "`vap doctor` says what they need here."
    )
