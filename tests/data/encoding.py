"""A table of small clips, and its encoding by the golden models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from vap.data.encode_job import EncodeJob, EncodeSettings, plan_job
from vap.data.rows import ClipRow
from vap.media import write_video
from vap.shapes import PixelShape

GOLDEN = Path(__file__).parents[1] / "golden"
SIZES = {"wan": PixelShape(5, 32, 48), "cogvideox": PixelShape(9, 48, 64)}


def written_rows(
    folder: Path, count: int = 5, size: tuple[int, int] = (36, 54), length: int = 7
) -> list[ClipRow]:
    """Clips of two conditions, written to a folder."""
    rows = []
    for index in range(count):
        noise = np.random.default_rng(index).integers(0, 255, (9, 12, 3), np.uint8)
        picture = np.asarray(Image.fromarray(noise).resize(size[::-1], Image.Resampling.BICUBIC))
        frames = np.stack([np.roll(picture, 3 * step, axis=1) for step in range(length)])
        write_video(frames, folder / f"{index}.mp4", 16)
        condition = f"condition {index % 2}"
        rows.append(ClipRow(f"{index}.mp4", (), f"a clip {index}", condition, "train", 50.0))
    return rows


def job_of(
    rows: list[ClipRow], root: Path, output: Path, model: str = "wan", shard_size: int = 2
) -> EncodeJob:
    settings = EncodeSettings(str(GOLDEN / model), (SIZES[model],), 16.0, shard_size, "float32")
    return plan_job(rows, settings, root, output)
