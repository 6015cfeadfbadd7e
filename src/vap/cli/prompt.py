"""``vap prompt``: encode references once, use them many times."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from vap.cli import options
from vap.cli.console import (
    LESS_MEMORY,
    in_options,
    note_demonstration,
    quiet_libraries,
    reporting,
    results,
    show_json,
    show_notes,
)
from vap.cli.options import App

app = App(help="Encode reference videos once and reuse them.", no_args_is_help=True)


@app.command("encode")
def encode(
    reference: Annotated[list[Path], typer.Argument(help="Reference videos.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The .safetensors file to write.")
    ],
    reference_prompt: options.ReferencePrompts = None,
    selection: options.Selection = None,
    fit: options.Fit = None,
    as_json: options.AsJson = False,
    height: options.Height = None,
    width: options.Width = None,
    frames: options.Frames = None,
    last_frame: Annotated[
        bool,
        typer.Option(
            "--last-frame", help="Encode the last frame too, for use with --last-image (Wan only)."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed for --selection random.")] = 0,
    model: options.Model = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
) -> None:
    """Encode references for one model at one size."""
    with reporting(as_json=as_json, memory_advice=LESS_MEMORY, words=in_options):
        from vap.files.names import DEFAULT_MODEL, check_model
        from vap.generation.request import check_inputs_kept, check_name, check_place
        from vap.media import probe_clip

        check_place(output)
        check_inputs_kept(reference, [output])
        for path in reference:
            check_name(path)
            probe_clip(path)
        check_model(model or DEFAULT_MODEL)
        quiet_libraries()
        import torch

        from vap.loading.pipeline import load_pipeline

        show_notes()
        if not as_json:
            note_demonstration(model or DEFAULT_MODEL)
        pipeline = load_pipeline(model or DEFAULT_MODEL, dtype=dtype, device=device)
        prompt = pipeline.encode_video_prompt(
            list(reference),
            reference_prompt or None,
            height=height,
            width=width,
            num_frames=frames,
            frame_selection=selection or "evenly",
            fit=fit or "cover",
            has_last_frame=last_frame,
            generator=torch.Generator().manual_seed(seed),
        )
        prompt.save(output)
        _show(output, as_json=as_json)


@app.command("show")
def show(
    file: Annotated[Path, typer.Argument(help="Video prompt written by `vap prompt encode`.")],
    as_json: options.AsJson = False,
) -> None:
    """Show the contents of a video prompt."""
    with reporting(as_json=as_json):
        _show(file, as_json=as_json)


def _show(file: Path, *, as_json: bool) -> None:
    from dataclasses import asdict

    from vap.pipelines.video_prompt import VideoPrompt

    prompt = VideoPrompt.load(file)
    if as_json:
        show_json(
            {
                "file": str(file),
                "family": prompt.family,
                "fingerprint": prompt.fingerprint,
                "shape": asdict(prompt.shape),
                "has_last_frame": prompt.has_last_frame,
                "references": [asdict(source) for source in prompt.references],
                "tensors": {name: list(tensor.shape) for name, tensor in prompt.tensors.items()},
            }
        )
        return
    shape = prompt.shape
    results.print(
        f"{file}: {len(prompt)} reference(s) for {prompt.family}, "
        f"{shape.frames} frames of {shape.height}×{shape.width}",
        soft_wrap=True,
    )
    table = Table("reference", "frames taken", "caption", box=SIMPLE_HEAD)
    for source in prompt.references:
        taken = f"{len(source.frames)} of {source.frames[0]} … {source.frames[-1]}"
        table.add_row(source.name, taken, source.caption)
    results.print(table)
