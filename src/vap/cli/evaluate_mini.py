"""``vap eval mini`` and ``vap eval story``: the bundled model, in numbers and in pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vap.cli.console import messages, note, progress_bar, quiet_libraries, reporting
from vap.cli.data_options import AsJson
from vap.cli.evaluate_shown import end, read_run, run_shown, show_results
from vap.files.atomic import check_makeable

Model = Annotated[
    str, typer.Option(metavar="NAME", help="Bundled name or pipeline folder of a Wan model.")
]
Steps = Annotated[
    int | None, typer.Option(metavar="N", help="Denoising steps. Default: the model's.", min=1)
]


def mini(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Output folder.")
    ] = Path("outputs/eval-mini"),
    cases: Annotated[
        int | None, typer.Option(metavar="N", help="Total number of pairs. Default: 240.")
    ] = None,
    model: Model = "vap-mini",
    systems_from: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder with one subfolder of trained weights per system."
        ),
    ] = None,
    system: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Compare this system; repeatable. Default: all."),
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Use only this condition; repeatable. Default: all."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed of the pairs. Default: 2026.", min=0)
    ] = None,
    drawn: Annotated[
        bool,
        typer.Option("--drawn", help="Use scenes without photographs and noise-like textures."),
    ] = False,
    steps: Steps = None,
    guidance: Annotated[
        float | None,
        typer.Option(metavar="SCALE", help="Text guidance; 1: off. Default: the model's."),
    ] = None,
    reference_guidance: Annotated[
        float | None,
        typer.Option(metavar="SCALE", help="Reference guidance; 1: off. Default: the model's."),
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", help="Number of processes.", min=1)] = 1,
    as_json: AsJson = False,
) -> None:
    """Score a small model on rendered pairs with subjects that it was not trained on."""
    with reporting(as_json=as_json):
        quiet_libraries()
        from vap.evaluation.benchmarks.synth import SEED
        from vap.evaluation.report.sheets import write_sheets
        from vap.evaluation.workers import Workers
        from vap.mini.evaluation.preset import CASES, Preset, mini_evaluation

        preset = Preset(
            model=model,
            systems_from=systems_from,
            systems=tuple(system or ()),
            cases=CASES if cases is None else cases,
            conditions=tuple(condition or ()),
            seed=SEED if seed is None else seed,
            drawn=drawn,
            steps=steps,
            guidance_scale=guidance,
            reference_guidance_scale=reference_guidance,
        )
        check_makeable(output)
        failed = run_shown(
            lambda progress: mini_evaluation(preset, output, progress), output, Workers(workers)
        )
        write_sheets(read_run(output), "vap", output)
        if missing := preset.missing():
            note(f"Skipped because their weights are missing: {', '.join(missing)}.")
        show_results(output, "vap" if "vap" in preset.names else None, as_json=as_json)
        end(failed, output)


def story(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Output folder.")
    ] = Path("outputs/eval-story"),
    model: Model = "vap-mini",
    condition: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Condition of the references; repeat it, give two or more."
        ),
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Photograph to animate, in addition to the bundled ones; repeatable.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the drawn scenes.", min=0)] = 0,
    steps: Steps = None,
) -> None:
    """Make a page of animations that show how reference, image and settings change a result."""
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
