"""``vap prompt``: encode references once, use them many times."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from vap.cli.console import messages, quiet_libraries, reporting, show_json

app = typer.Typer(help="Encode reference videos once and reuse them.", no_args_is_help=True)


@app.command("encode")
def encode(
    reference: Annotated[list[Path], typer.Argument(help="Reference videos.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write, .safetensors.")],
    reference_prompt: Annotated[
        list[str] | None, typer.Option(help="Caption of each reference, in order.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="Bundled name, pipeline folder or Hub id.")
    ] = "vap-mini",
    height: Annotated[int | None, typer.Option(help="Pixels of the videos to be made.")] = None,
    width: Annotated[int | None, typer.Option(help="Likewise.")] = None,
    frames: Annotated[int | None, typer.Option(help="Likewise.")] = None,
    selection: Annotated[
        Literal["evenly", "first", "random"], typer.Option(help="Which frames of a reference.")
    ] = "evenly",
    fit: Annotated[
        Literal["cover", "stretch"], typer.Option(help="Crop or distort to the size.")
    ] = "cover",
    last_frame: Annotated[bool, typer.Option(help="For use with --last-image (Wan).")] = False,
    seed: Annotated[int, typer.Option(help="Of --selection random.")] = 0,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps …")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Encode references for one model at one size."""
    with reporting(as_json=as_json):
        import torch

        from vap.hub import load_pipeline

        quiet_libraries()
        pipeline = load_pipeline(model, dtype=dtype, device=device)
        prompt = pipeline.encode_video_prompt(
            list(reference),
            reference_prompt or None,
            height=height,
            width=width,
            num_frames=frames,
            frame_selection=selection,
            fit=fit,
            has_last_frame=last_frame,
            generator=torch.Generator().manual_seed(seed),
        )
        prompt.save(output)
        _show(output, as_json=as_json)


@app.command("show")
def show(
    file: Annotated[Path, typer.Argument(help="Video prompt written by `vap prompt encode`.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Say what a video prompt holds."""
    with reporting(as_json=as_json):
        _show(file, as_json=as_json)


def _show(file: Path, *, as_json: bool) -> None:
    from dataclasses import asdict

    from vap.prompts import VideoPrompt

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
    messages.print(
        f"{file}: {len(prompt)} reference(s) for {prompt.family}, "
        f"{shape.frames} frames of {shape.height}×{shape.width}"
    )
    table = Table("reference", "frames taken", "caption")
    for source in prompt.references:
        taken = f"{len(source.frames)} of {source.frames[0]} … {source.frames[-1]}"
        table.add_row(source.name, taken, source.caption)
    messages.print(table)
