"""``vap eval``: compare systems on a benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from vap.cli.console import (
    FAILED,
    messages,
    note,
    progress_bar,
    quiet_libraries,
    reporting,
    results,
    show_json,
)
from vap.cli.data_options import AsJson
from vap.cli.evaluate_mini import mini, story
from vap.cli.help import App
from vap.cli.study import app as study

if TYPE_CHECKING:
    from vap.evaluation.metrics.base import Metric
    from vap.evaluation.registry import Registry
    from vap.evaluation.systems.base import System

app = App(
    name="eval", help="Say how good systems are, in numbers and in pictures.", no_args_is_help=True
)

Baseline = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="System that others are compared with. Default: the first."),
]


@app.command("run")
def run_(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where everything is written.")
    ],
    systems: Annotated[
        str, typer.Option(metavar="NAMES", help="Names (see `systems`) or .yaml files, by commas.")
    ],
    metrics: Annotated[
        str, typer.Option(metavar="NAMES", help="Names (see `metrics`) or .yaml files, by commas.")
    ] = "gap,recognized,first-frame",
    benchmark: Annotated[
        str, typer.Option(metavar="NAME", help="synth, a table, or a folder of effect packs.")
    ] = "synth",
    cases: Annotated[
        int | None, typer.Option(metavar="N", help="Use only so many cases. synth: 24.", min=1)
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this condition. Repeatable; all by default."),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the paths of a table start.")
    ] = None,
    benchmark_seed: Annotated[
        int | None, typer.Option(metavar="N", help="Of the cases of synth. Default: 2026.", min=0)
    ] = None,
    seeds: Annotated[
        str, typer.Option(metavar="NUMBERS", help="Of the noise, by commas: a video for each.")
    ] = "0",
    baseline: Baseline = None,
    workers: Annotated[
        int, typer.Option(metavar="N", help="Processes that share the work.", min=1)
    ] = 1,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Ray cluster that shares the work.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make and score the videos of systems; a run that was interrupted goes on."""
    with reporting(as_json=as_json):
        quiet_libraries()
        from vap.evaluation.benchmarks.read import read_benchmark
        from vap.evaluation.plan import Evaluation
        from vap.evaluation.run import run, with_bounds
        from vap.evaluation.workers import Workers

        chosen = _registries()[1].read_all(_names(metrics))
        compared = with_bounds(_registries()[0].read_all(_names(systems)), chosen, _registries()[0])
        _check_baseline(baseline, [system.name for system in compared])
        evaluation = Evaluation(
            read_benchmark(
                benchmark,
                folder=output,
                cases=cases,
                conditions=tuple(condition or ()),
                seed=benchmark_seed,
                root=root,
            ),
            compared,
            chosen,
            tuple(_numbers(seeds)),
        )
        with progress_bar(shown=messages.is_terminal) as bar:
            tasks: dict[str, Any] = {}

            def progress(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bar.add_task(what, total=total)
                bar.update(tasks[what], completed=done, total=total)

            summary = run(evaluation, output, workers=Workers(workers, ray), progress=progress)
        _show(output, baseline, as_json=as_json)
        failed = summary.failed_videos + summary.failed_scores
        if failed:
            note(
                f"{summary.failed_videos} videos and {summary.failed_scores} scores failed; "
                "table.md says why. Run the same command to try them again."
            )
            raise typer.Exit(FAILED)


@app.command("report")
def report(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of a run.")],
    baseline: Baseline = None,
    as_json: AsJson = False,
) -> None:
    """Write the tables of a run again."""
    with reporting(as_json=as_json):
        _show(folder, baseline, as_json=as_json)


@app.command("systems")
def systems_() -> None:
    """List the systems that can be named."""
    with reporting():
        _list(_registries()[0])


@app.command("metrics")
def metrics_() -> None:
    """List the metrics that can be named."""
    with reporting():
        _list(_registries()[1])


app.command("mini")(mini)
app.command("story")(story)
app.add_typer(study, name="study")


def _registries() -> tuple[Registry[System], Registry[Metric]]:
    """Systems and metrics, those of the bundled model among them."""
    from vap.evaluation.metrics.registry import METRICS
    from vap.evaluation.systems.registry import SYSTEMS

    return SYSTEMS, METRICS


def _show(folder: Path, baseline: str | None, *, as_json: bool) -> None:
    """Write and print the results of a run."""
    from vap.evaluation.report.summary import summarize
    from vap.evaluation.report.tables import write_tables
    from vap.evaluation.run_folder import read_run_folder

    found = read_run_folder(folder, *_registries())
    names = [system.name for system in found.systems]
    _check_baseline(baseline, names)
    came_to = summarize(found)
    written = write_tables(found, came_to, baseline or names[0])
    if as_json:
        show_json(came_to.as_json())
        return
    grid = Table("system", "cases", box=None)
    for metric in found.metrics:
        grid.add_column(metric.title or metric.name, justify="right")
    from vap.evaluation.report.tables import cell

    for system in found.systems:
        own = {
            number.metric: number
            for number in came_to.numbers
            if number.system == system.name and number.group is None
        }
        counts = {number.cases for number in own.values()}
        cells = (cell(metric, own[metric.name]) for metric in found.metrics)
        grid.add_row(system.name, str(max(counts, default=0)), *cells)
    results.print(grid)
    for path in written:
        messages.print(f"  {path}", soft_wrap=True)


def _list(registry: Registry[Any]) -> None:
    grid = Table("name", "kind", "title", box=None)
    for name in registry.names():
        item = registry.read(name)
        grid.add_row(name, item.kind, item.title)
    results.print(grid)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ValueError(f"{text!r} names nothing. Give names or .yaml files, separated by commas.")
    return names


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in dict.fromkeys(_names(text))]
    except ValueError as error:
        raise ValueError(f"seeds={text!r}: give whole numbers, such as 0,1,2.") from error


def _check_baseline(baseline: str | None, names: list[str]) -> None:
    from vap.files.names import did_you_mean

    if baseline is not None and baseline not in names:
        raise ValueError(
            f"baseline={baseline!r} is not among the systems.{did_you_mean(baseline, names)} They "
            f"are: {', '.join(names)}."
        )
