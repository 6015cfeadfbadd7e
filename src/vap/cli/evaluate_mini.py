"""``vap eval mini`` and ``vap eval story``: the bundled model, in numbers and in pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from vap.cli.console import messages, progress_bar, quiet_libraries, reporting, results, show_json
from vap.cli.data_options import AsJson

if TYPE_CHECKING:
    from vap.mini.evaluation.report import Report

Model = Annotated[
    str, typer.Option(metavar="NAME", help="Bundled name or pipeline folder of a Wan model.")
]
Steps = Annotated[
    int | None, typer.Option(metavar="N", help="Denoising steps. Default: the model's.", min=1)
]


def mini(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where everything is written.")
    ] = Path("outputs/eval-mini"),
    cases: Annotated[
        int | None, typer.Option(metavar="N", help="Pairs in all. Default: 240.")
    ] = None,
    model: Model = "vap-mini",
    systems_from: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Trained alternatives, a folder for each system."),
    ] = None,
    system: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Compare this one. Repeatable; all by default."),
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this condition. Repeatable; all by default."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Of the pairs. Default: 2026.", min=0)
    ] = None,
    steps: Steps = None,
    guidance: Annotated[
        float | None, typer.Option(metavar="SCALE", help="1: off. Default: the model's.")
    ] = None,
    reference_guidance: Annotated[
        float | None,
        typer.Option(metavar="SCALE", help="The same, by the reference."),
    ] = None,
    workers: Annotated[
        int, typer.Option(metavar="N", help="Processes that share the work.", min=1)
    ] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep what the folder holds, add what is missing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Score a small model against rendered truths, on subjects that it never saw."""
    with reporting(as_json=as_json):
        quiet_libraries()
        from vap.mini.evaluation.cases import CASES, SEED
        from vap.mini.evaluation.evaluate_mini import Evaluation, evaluate
        from vap.mini.evaluation.systems import Generation

        evaluation = Evaluation(
            model=model,
            systems_from=systems_from,
            systems=tuple(system or ()),
            cases=CASES if cases is None else cases,
            conditions=tuple(condition or ()),
            seed=SEED if seed is None else seed,
            generation=Generation(steps, guidance, reference_guidance),
        )
        with progress_bar(shown=messages.is_terminal) as bar:
            task = bar.add_task("videos", total=None)
            report = evaluate(
                evaluation,
                output,
                resume=resume,
                workers=workers,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        if as_json:
            show_json(report.as_json())
            return
        results.print(_grid(report))
        for note in report.notes:
            results.print(note)
        messages.print(f"All of it is in {output}.", soft_wrap=True)


def story(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where everything is written.")
    ] = Path("outputs/eval-story"),
    model: Model = "vap-mini",
    condition: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="What the references show. Repeatable, two or more."),
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Photograph to animate, before public ones. Repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the drawn scenes.", min=0)] = 0,
    steps: Steps = None,
) -> None:
    """Make a page of moving pictures that show what a result depends on."""
    with reporting():
        quiet_libraries()
        from vap.mini.story.tell import Story, tell

        chosen = {"conditions": tuple(condition)} if condition else {}
        told = Story(model=model, images=tuple(image or ()), seed=seed, steps=steps, **chosen)
        with progress_bar(shown=messages.is_terminal) as bar:
            task = bar.add_task("panels", total=None)
            written = tell(
                told, output, lambda done, total: bar.update(task, completed=done, total=total)
            )
        for path in written:
            messages.print(f"  {path}", soft_wrap=True)


def _grid(report: Report) -> Table:
    """The rows in 80 columns, units in the headings: gap closed, recognized, first frame."""
    splits = list(dict.fromkeys(row.split for row in report.rows))
    cells: dict[str, dict[str, tuple[str, str, str]]] = {}
    for row in report.rows:
        cells.setdefault(row.system, {})[row.split] = row.cells()
    grid = Table(Column("system", no_wrap=True), box=None)
    for split in splits:
        for heading in (f"{split}\ngap", "\n%", "\ndB"):
            grid.add_column(heading, justify="right", no_wrap=True)
    for system, found in cells.items():
        numbers = (cell for split in splits for cell in found.get(split, ("", "", "")))
        grid.add_row(system, *(number.partition(" ")[0] for number in numbers))
    return grid
