"""A table of small clips, and its encoding by the golden models."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vap.data.encode import EncodeJob, EncodeSettings, plan_job
from vap.data.schema import ClipRow
from vap.media import write_video
from vap.shapes import PixelShape

GOLDEN = Path(__file__).parents[1] / "golden"
SIZES = {"wan": PixelShape(5, 32, 48), "cogvideox": PixelShape(9, 48, 64)}


def written_rows(folder: Path, count: int = 5, size: tuple[int, int] = (36, 54)) -> list[ClipRow]:
    """Clips of two conditions, written to a folder."""
    rows = []
    for index in range(count):
        frames = np.random.default_rng(index).integers(0, 255, (1, *size, 3), np.uint8)
        frames = np.concatenate([np.roll(frames, 3 * step, axis=2) for step in range(7)])
        write_video(folder / f"{index}.mp4", frames, 16)
        condition = f"condition {index % 2}"
        rows.append(ClipRow(f"{index}.mp4", (), f"a clip {index}", condition, "train", 50.0))
    return rows


def job_of(
    rows: list[ClipRow], root: Path, output: Path, model: str = "wan", shard_size: int = 2
) -> EncodeJob:
    settings = EncodeSettings(str(GOLDEN / model), (SIZES[model],), 16.0, shard_size, "float32")
    return plan_job(rows, settings, root, output)
