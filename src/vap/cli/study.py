"""``vap eval study``: ask people which system is best, without telling them which is which."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from vap.cli.console import messages, quiet_libraries, reporting, results, show_json
from vap.cli.data_options import AsJson
from vap.cli.options import App

if TYPE_CHECKING:
    from vap.evaluation.study.analysis import StudyResults

app = App(
    name="study", help="Ask people which system is best, in a blind study.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Output folder of `vap eval run`.")]


@app.command("serve")
def serve(
    folder: Folder,
    systems: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Systems to compare, separated by commas. Default: all."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 makes it reachable from the network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=1, max=65535)] = 8765,
) -> None:
    """Serve the page on which raters pick the best videos."""
    with reporting():
        quiet_libraries()
        from vap.evaluation.metrics.registry import METRICS
        from vap.evaluation.run_folder import read_run_folder
        from vap.evaluation.study.open_study import open_study
        from vap.evaluation.systems.registry import SYSTEMS
        from vap.extras import require

        require("uvicorn", extra="study", purpose="serve a study")
        from vap.evaluation.study.server import make_app
        from vap.evaluation.study.server import serve as listen

        run = read_run_folder(folder, SYSTEMS, METRICS)
        chosen = [] if systems is None else [name.strip() for name in systems.split(",")]
        study = open_study(run, chosen)
        if host not in ("127.0.0.1", "localhost", "::1"):
            messages.print("note: everybody who can reach this address can rate.")
        messages.print(
            f"Give raters this address: http://{host}:{port}/ (Ctrl-C stops; answers are kept)"
        )
        listen(make_app(study), host, port)


@app.command("results")
def results_(
    folder: Folder,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every answer to this file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show preference rates, strengths and the agreement of raters."""
    with reporting(as_json=as_json):
        from vap.evaluation.study.analysis import analyze, write_csv
        from vap.evaluation.study.metric_agreement import metric_agreement
        from vap.evaluation.study.open_study import stored_answers

        answers = stored_answers(folder)
        if csv is not None:
            messages.print(f"  {write_csv(answers, csv)}", soft_wrap=True)
        found = analyze(answers)
        ranked = metric_agreement(folder, answers)
        if as_json:
            agreed = {name: asdict(each) for name, each in ranked.items()}
            show_json({**found.as_json(), "metrics": agreed})
        else:
            _show(found)
            for name, each in ranked.items():
                low, high = each.interval
                results.print(
                    f"{name} ranks {each.share:.0%} ({low:.0%} … {high:.0%}) of {each.pairs} pairs "
                    "as raters did for semantics; 50% is chance."
                )


def _show(found: StudyResults) -> None:
    table = Table("system", box=None)
    questions = list(dict.fromkeys(each.question for each in found.preferences))
    for question in questions:
        table.add_column(question, justify="right")
    for system in dict.fromkeys(each.system for each in found.preferences):
        own = {each.question: each for each in found.preferences if each.system == system}
        cells = [
            f"{own[name].rate:.1%} ({own[name].interval[0]:.1%} … {own[name].interval[1]:.1%})"
            for name in questions
        ]
        table.add_row(system, *cells)
    results.print(table)
    agreed = ", ".join(
        f"{name} {'–' if alpha is None else f'{alpha:.2f}'}"
        for name, alpha in found.agreement.items()
    )
    results.print(
        f"{found.answers} answers of {found.raters} raters; {found.excluded} more raters failed "
        f"their attention checks. Krippendorff's alpha: {agreed}."
    )
