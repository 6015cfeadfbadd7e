"""``vap data build``: a table of the clips in a folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from vap.cli.console import reporting
from vap.cli.data_console import print_counts, progress_bars
from vap.cli.data_options import AsJson, OutTable, Seed
from vap.data.rows import MAX_REFERENCES, MAX_SCORE, ReferenceChoice, TableError
from vap.data.table import write_table
from vap.data.table_files import table_suffix

if TYPE_CHECKING:
    from vap.data.build import Build
    from vap.data.captions import Captioner
    from vap.data.judge import Judge

_Captions: TypeAlias = Literal["sidecar", "template", "model"]
_Judge: TypeAlias = Literal["agreement", "sidecar", "constant"]


def build(
    folder: Annotated[Path, typer.Argument(help="Folder with one subfolder per condition.")],
    output: OutTable,
    captions: Annotated[
        _Captions,
        typer.Option(help="Source of captions: clip.txt beside clip.mp4, a template, or a model."),
    ] = "sidecar",
    template: Annotated[
        str | None,
        typer.Option(help="Caption template. Default: '{name}, {condition}'."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Vision-language model: folder, Hub id, gemini or openai:URL#MODEL."),
    ] = None,
    keep_captions: Annotated[
        bool, typer.Option(help="Write captions to clip.txt, and re-use existing files.")
    ] = False,
    judge: Annotated[
        _Judge,
        typer.Option(
            help="Source of scores: agreement with the condition, clip.score, or a constant."
        ),
    ] = "agreement",
    score: Annotated[float | None, typer.Option(help="The constant score. Default: 100.")] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="Folder that the table's paths are relative to. Default: FOLDER."),
    ] = None,
    references: Annotated[int, typer.Option(help="Most references per row.")] = MAX_REFERENCES,
    choice: Annotated[
        ReferenceChoice,
        typer.Option(help="Choose references at random, or those with the best scores."),
    ] = "random",
    duplicates: Annotated[
        int,
        typer.Option(
            help="Most bits (of 512) in which near-duplicates differ; -1 keeps all clips."
        ),
    ] = 40,
    workers: Annotated[int, typer.Option(help="Clips to decode at the same time.")] = 2,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Make a table of the clips in a folder, without broken clips and near-duplicates."""
    # Decoding and signatures are imported only where they are used: `vap --help` stays quick.
    from vap.data.build import BuildRules, build_table
    from vap.data.clip_files import find_clips

    with reporting(as_json=as_json):
        _check_options(output, captions, template, model, judge, score)
        kept = None if duplicates < 0 else duplicates
        rules = BuildRules(kept, references, choice, seed=seed, workers=workers)
        start = folder if root is None else root
        # Before a captioning model is loaded or downloaded.
        find_clips(folder, start)
        judging = _judge(judge, score)
        captioner = _captioner(captions, template, model, keep=keep_captions)
        with progress_bars() as progress:
            made = build_table(folder, captioner, judging, rules, root=root, progress=progress)
        _write(made, folder, output)
        dropped = [asdict(drop) for drop in made.dropped]
        result = {"rows": len(made.table.rows), "dropped": dropped, "root": str(start)}
        print_counts({**result, "written": str(output)}, as_json)


def _check_options(
    out: Path,
    captions: _Captions,
    template: str | None,
    model: str | None,
    judge: _Judge,
    score: float | None,
) -> None:
    """Refuse an output that cannot be written, and options without effect."""
    from vap.generation.request import check_place

    table_suffix(out)
    check_place(out)
    for option, given, needed, found in (
        ("--template", template, "--captions template", captions == "template"),
        ("--model", model, "--captions model", captions == "model"),
        ("--score", score, "--judge constant", judge == "constant"),
    ):
        if given is not None and not found:
            raise ValueError(
                f"{option} is read only with {needed}. Add that, or leave {option} out."
            )


def _captioner(
    captions: _Captions, template: str | None, model: str | None, *, keep: bool
) -> Captioner:
    from vap.data.captions import RememberingCaptioner, SidecarCaptioner, TemplateCaptioner

    captioner: Captioner
    if captions == "sidecar":
        captioner = SidecarCaptioner()
    elif captions == "template":
        captioner = TemplateCaptioner() if template is None else TemplateCaptioner(template)
    elif model is None:
        raise ValueError(
            "--captions model needs --model: gemini, openai:URL#MODEL, or a folder or Hub id of a "
            "vision-language model."
        )
    else:
        from vap.data.vlm import ModelCaptioner

        captioner = ModelCaptioner.named(model)
    return RememberingCaptioner(captioner) if keep else captioner


def _judge(judge: _Judge, score: float | None) -> Judge:
    from vap.data.judge import AgreementJudge, ConstantJudge, SidecarJudge

    if judge == "constant":
        return ConstantJudge(MAX_SCORE if score is None else score)
    return SidecarJudge() if judge == "sidecar" else AgreementJudge()


def _write(made: Build, folder: Path, out: Path) -> None:
    """Write the table."""
    if not made.table.rows:
        listed = "\n".join(f"  {drop.video}: {drop.reason}" for drop in made.dropped[:5])
        raise TableError(f"No clip of {folder} can be used:\n{listed}")
    write_table(made.table, out)
