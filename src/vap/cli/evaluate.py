"""``vap eval``: compare systems on a benchmark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from vap.cli.console import quiet_libraries, reporting, results
from vap.cli.data_options import AsJson
from vap.cli.evaluate_mini import mini, story
from vap.cli.evaluate_shown import (
    check_baseline,
    end,
    metrics_registry,
    run_shown,
    show_results,
    systems_registry,
)
from vap.cli.options import App
from vap.cli.study import app as study

if TYPE_CHECKING:
    from vap.evaluation.registry import Registry

app = App(
    name="eval",
    help="Compare systems on a benchmark: metrics, contact sheets and studies.",
    no_args_is_help=True,
)

Baseline = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="System to compare the others with. Default: the first."),
]


@app.command("run")
def run_(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Output folder.")
    ],
    systems: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Names (see `vap eval systems`) or .yaml files, separated by commas.",
        ),
    ],
    metrics: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Names (see `vap eval metrics`) or .yaml files, separated by commas.",
        ),
    ] = "gap,recognized,first-frame",
    benchmark: Annotated[
        str,
        typer.Option(metavar="NAME", help="synth, synth-drawn, a table, or a folder of effects."),
    ] = "synth",
    cases: Annotated[
        int | None,
        typer.Option(metavar="N", help="Most cases to use. Default for synth: 24.", min=1),
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Use only this condition; repeatable. Default: all."),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder that the table's paths are relative to."),
    ] = None,
    benchmark_seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="Seed of the cases of synth. Default: 2026.", min=0),
    ] = None,
    seeds: Annotated[
        str,
        typer.Option(
            metavar="NUMBERS",
            help="Seeds of the noise, separated by commas; each makes one video per case.",
        ),
    ] = "0",
    baseline: Baseline = None,
    workers: Annotated[int, typer.Option(metavar="N", help="Number of processes.", min=1)] = 1,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address of the Ray cluster to use.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Generate and score the videos of systems. After an interruption, run again to continue."""
    with reporting(as_json=as_json):
        quiet_libraries()
        from vap.evaluation.benchmarks.read import read_benchmark
        from vap.evaluation.plan import Evaluation
        from vap.evaluation.run import with_bounds
        from vap.evaluation.workers import Workers

        registry = systems_registry()
        asked = registry.read_all(_names(systems))
        chosen = metrics_registry().read_all(_names(metrics))
        noise = tuple(_numbers(seeds))
        check_baseline(baseline, [system.name for system in asked])
        for system in asked:
            system.check()

        def make(progress: Callable[[int, int], None]) -> Evaluation:
            found = read_benchmark(
                benchmark,
                folder=output,
                cases=cases,
                conditions=tuple(condition or ()),
                seed=benchmark_seed,
                root=root,
                progress=progress,
            )
            return Evaluation(found, with_bounds(asked, chosen, found, registry), chosen, noise)

        failed = run_shown(make, output, Workers(workers, ray))
        show_results(output, baseline, as_json=as_json)
        end(failed, output)


@app.command("report")
def report(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Output folder of a run.")],
    baseline: Baseline = None,
    as_json: AsJson = False,
) -> None:
    """Re-write the tables and the page of a run."""
    with reporting(as_json=as_json):
        show_results(folder, baseline, as_json=as_json)


@app.command("systems")
def systems_() -> None:
    """List the names that --systems takes."""
    with reporting():
        _list(systems_registry())


@app.command("metrics")
def metrics_() -> None:
    """List the names that --metrics takes."""
    with reporting():
        _list(metrics_registry())


app.command("mini")(mini)
app.command("story")(story)
app.add_typer(study, name="study")


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
    names = dict.fromkeys(_names(text))
    if not all(name.isascii() and name.isdecimal() for name in names):
        raise ValueError(f"seeds={text!r}: give whole numbers from 0, such as 0,1,2.")
    return [int(name) for name in names]
