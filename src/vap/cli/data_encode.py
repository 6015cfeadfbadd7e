"""``vap data encode``: a dataset's latents and embeddings, once, into shards."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from vap.cli.console import FAILED, quiet_libraries, reporting
from vap.cli.data_console import print_counts, progress_bars
from vap.cli.data_options import AsJson, TableFile
from vap.data.check import load_table
from vap.data.rows import OnError, TableError
from vap.shapes import PixelShape


def encode(
    table: TableFile,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FOLDER", help="Folder of the shards."),
    ],
    model: Annotated[
        str,
        typer.Option(help="Model whose encoders to use: pipeline folder, bundled name or Hub id."),
    ],
    size: Annotated[
        list[str],
        typer.Option(help="FRAMESxHEIGHTxWIDTH, such as 49x480x832. Repeat for buckets."),
    ],
    root: Annotated[
        Path | None,
        typer.Option(help="Folder that the paths are relative to. Default: the table's folder."),
    ] = None,
    fps: Annotated[float, typer.Option(help="Frames per second to read.")] = 16.0,
    shard_size: Annotated[int, typer.Option(help="Clips per shard.", min=1)] = 64,
    stored_as: Annotated[
        Literal["float16", "bfloat16", "float32"], typer.Option(help="Precision of the shards.")
    ] = "float16",
    workers: Annotated[
        int | None,
        typer.Option(help="Number of processes. Default: one per GPU with Ray, else 1.", min=1),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(help="Address of the Ray cluster to use, or 'local'."),
    ] = None,
    on_error: Annotated[
        OnError, typer.Option(help="Stop at rows with errors, or skip them.")
    ] = "skip",
    as_json: AsJson = False,
) -> None:
    """Encode all clips of a table. After an interruption, run again to continue."""
    with reporting(as_json=as_json):
        from vap.data.encode import run_job
        from vap.data.encode_job import EncodeSettings, plan_job
        from vap.data.encoded import EncodedClips

        quiet_libraries()
        settings = EncodeSettings(model, tuple(map(_size, size)), fps, shard_size, stored_as)
        folder = Path(os.path.realpath(root or table.parent))
        loaded = load_table(table, root=folder, splits=None, on_error=on_error)
        skipped = [problem for problem in loaded.problems if problem.drops_row]
        if skipped and not loaded.rows:
            raise TableError(
                f"No row of {table} can be encoded. The first: {skipped[0]}", tuple(skipped)
            )
        job = plan_job(loaded.rows, settings, folder, Path(os.path.realpath(output)))
        with progress_bars() as progress:
            run_job(job, workers=workers, ray=ray, progress=progress)
        made = EncodedClips(job.output)
        result = {
            "clips": len(made.clips),
            "dropped": [{"video": video, "reason": why} for video, why in made.dropped.items()],
            "skipped": len(skipped),
            "shards": job.shards,
            "written": str(output),
        }
        print_counts(result, as_json)
        if not made.clips:
            raise typer.Exit(FAILED)


def _size(text: str) -> PixelShape:
    try:
        frames, height, width = map(int, text.split("x"))
    except ValueError as error:
        raise ValueError(
            f"--size {text!r} is not FRAMESxHEIGHTxWIDTH: write, for example, 49x480x832."
        ) from error
    return PixelShape(frames, height, width)
