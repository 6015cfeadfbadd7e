"""Losses of training runs over their steps, as one picture.

Repeat that of the bundled model, from the folder that its stages ran in, with

    python -m benchmarks.losses --plot losses.svg \
        backbone=runs/vap-mini/3d-backbone,runs/vap-mini/3e-backbone,runs/vap-mini/3f-backbone \
        expert=runs/vap-mini/4b-expert,runs/vap-mini/4c-expert,runs/vap-mini/4d-expert
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.svg import Line, Panel, draw
from vap.files.atomic import atomic_file

_METRICS = "metrics.jsonl"
# Single batches scatter by a tenth; what is looked for is a few hundredths.
_WINDOWS = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Read runs and draw them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.losses", description=__doc__)
    parser.add_argument("panels", nargs="+", metavar="TITLE=RUN,RUN,…", help="A plot and its runs.")
    parser.add_argument("--plot", type=Path, required=True, metavar="FILE", help="SVG to write.")
    options = parser.parse_args(arguments)
    try:
        panels = [_panel(given) for given in options.panels]
    except (OSError, ValueError) as error:
        parser.error(str(error))
    with atomic_file(options.plot) as temporary:
        temporary.write_text(draw([panels]), encoding="utf-8")
    return 0


def losses(run: Path) -> list[tuple[float, float]]:
    """Mean loss of each of some windows of a run, by its last step.

    Args:
        run: Output folder of ``vap train``.

    Returns:
        ``(step, loss)``.

    Raises:
        ValueError: If nothing was logged.
        FileNotFoundError: If the run has no metrics.
    """
    lines = (run / _METRICS).read_text(encoding="utf-8").splitlines()
    logged = [(row["step"], row["loss"]) for row in map(json.loads, lines) if "loss" in row]
    if not logged:
        message = f"{run / _METRICS} holds no loss. Give a run that logged at least one step."
        raise ValueError(message)
    size = -(-len(logged) // _WINDOWS)
    windows = [logged[start : start + size] for start in range(0, len(logged), size)]
    return [(each[-1][0], statistics.fmean(loss for _, loss in each)) for each in windows]


def _panel(given: str) -> Panel:
    title, _, runs = given.partition("=")
    if not runs:
        message = f"{given!r} names no runs. Give TITLE=RUN,RUN,… with output folders of training."
        raise ValueError(message)
    lines = [Line(Path(run).name, losses(Path(run))) for run in runs.split(",")]
    return Panel(title, "steps", "loss", lines)


if __name__ == "__main__":
    raise SystemExit(main())
