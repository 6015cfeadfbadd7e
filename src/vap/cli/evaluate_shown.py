"""What the commands of ``vap eval`` share: registries, progress, tables."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from vap.cli.console import FAILED, messages, note, progress_bar, results, show_json

if TYPE_CHECKING:
    from vap.evaluation.metrics.base import Metric
    from vap.evaluation.plan import Evaluation
    from vap.evaluation.registry import Registry
    from vap.evaluation.report.summary import Results
    from vap.evaluation.run_folder import RunFolder
    from vap.evaluation.systems.base import System
    from vap.evaluation.workers import Workers


def systems_registry() -> Registry[System]:
    """All kinds of systems, those of the bundled model among them."""
    from vap.evaluation.systems.registry import SYSTEMS
    from vap.mini.evaluation.trained import KINDS

    return SYSTEMS.extended(KINDS)


def metrics_registry() -> Registry[Metric]:
    """All kinds of metrics."""
    from vap.evaluation.metrics.registry import METRICS

    return METRICS


def read_run(folder: Path) -> RunFolder:
    """Read a run's folder."""
    from vap.evaluation.run_folder import read_run_folder

    return read_run_folder(folder, systems_registry(), metrics_registry())


def run_shown(
    make: Callable[[Callable[[int, int], None]], Evaluation], output: Path, workers: Workers
) -> int:
    """Make an evaluation and run it, with progress bars; return how much failed."""
    from vap.evaluation.run import run

    with progress_bar(shown=messages.is_terminal) as bar:
        tasks: dict[str, Any] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        evaluation = make(partial(progress, "cases"))
        summary = run(evaluation, output, workers=workers, progress=progress)
    return summary.failed_videos + summary.failed_scores


def show_results(folder: Path, baseline: str | None, *, as_json: bool) -> None:
    """Write and print the results of a run."""
    from vap.evaluation.report.page import write_page
    from vap.evaluation.report.summary import summarize
    from vap.evaluation.report.tables import write_tables

    run = read_run(folder)
    for metric, reason in run.unusable.items():
        note(f"{metric} has no scores: {reason}")
    names = [system.name for system in run.systems]
    check_baseline(baseline, names)
    found = summarize(run)
    written = write_tables(run, found, baseline or names[0])
    written.append(write_page(run, found, baseline or names[0]))
    if as_json:
        show_json(found.as_json())
        return
    results.print(_grid(run, found))
    for path in written:
        messages.print(f"  {path}", soft_wrap=True)


def end(failed: int, folder: Path) -> None:
    """End with an error where something failed."""
    if failed:
        note(
            f"{failed} videos or scores failed; see {folder / 'table.md'} for the reasons. To "
            "retry them, run the same command again."
        )
        raise typer.Exit(FAILED)


def check_baseline(baseline: str | None, names: list[str]) -> None:
    """Refuse a baseline that is not compared."""
    from vap.files.names import did_you_mean

    if baseline is not None and baseline not in names:
        raise ValueError(
            f"baseline={baseline!r} is not among the systems.{did_you_mean(baseline, names)} They "
            f"are: {', '.join(names)}."
        )


def _grid(run: RunFolder, found: Results) -> Table:
    """Numbers over all cases, with intervals."""
    from vap.evaluation.report.tables import cell

    grid = Table("system", "cases", box=None)
    for metric in run.metrics:
        grid.add_column(metric.title or metric.name, justify="right")
    for system in run.systems:
        own = {
            number.metric: number
            for number in found.numbers
            if number.system == system.name and number.group is None
        }
        counts = [number.cases for number in own.values()]
        cells = (cell(metric, own[metric.name]) for metric in run.metrics)
        grid.add_row(system.name, str(max(counts, default=0)), *cells)
    return grid
