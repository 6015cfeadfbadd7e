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
        str, typer.Option(help="Pipeline folder, bundled model or Hub id that encodes.")
    ],
    size: Annotated[
        list[str],
        typer.Option(help="FRAMESxHEIGHTxWIDTH, such as 49x480x832. Repeatable: buckets."),
    ],
    root: Annotated[
        Path | None, typer.Option(help="Folder that the paths start from; TABLE's if none.")
    ] = None,
    fps: Annotated[float, typer.Option(help="Rate that clips are read at.")] = 16.0,
    shard_size: Annotated[int, typer.Option(help="Clips of a shard.", min=1)] = 64,
    stored_as: Annotated[
        Literal["float16", "bfloat16", "float32"], typer.Option(help="Precision of the shards.")
    ] = "float16",
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes at work at once. Default: one a GPU with Ray, else one.", min=1
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(help="Address of a Ray cluster (or 'local') that shares the work."),
    ] = None,
    on_error: Annotated[
        OnError, typer.Option(help="Refuse a table with faulty rows, or leave them out.")
    ] = "skip",
    as_json: AsJson = False,
) -> None:
    """Encode every clip of a table; after an interruption, go on with what is missing."""
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
            if ray is None:
                run_job(job, workers=workers or 1, progress=progress)
            else:
                from vap.data.encode_ray import run_on_ray

                run_on_ray(job, address=ray, workers=workers)
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
