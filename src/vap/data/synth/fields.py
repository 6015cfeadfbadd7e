"""Fixed random fields that effects grow along: noise, cells, grain.

They depend on a size and a pattern only, never on the scene, so that a reference video shows all
that is needed to draw its target.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vap.data.synth.opencv import cv2
from vap.data.synth.scene import Image


def generator(*key: int) -> np.random.Generator:
    """A counter-based generator, equal on every platform for equal keys (each ≥ 0)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


@lru_cache(maxsize=64)
def smooth_noise(height: int, width: int, cells: int, pattern: int = 0) -> Image:
    """Noise ``[H, W]``, ranked to be uniform on 0 to 1.

    Args:
        height: Rows.
        width: Columns.
        cells: Blobs along the height; independent of the resolution.
        pattern: Which field.
    """
    columns = max(2, round(cells * width / height))
    lib = cv2()
    field = np.zeros((height, width), np.float32)
    for octave, weight in ((1, 1.0), (2, 0.5)):
        rng = generator(11, pattern, cells, octave)
        coarse = rng.random((cells * octave + 3, columns * octave + 3), dtype=np.float32)
        field += weight * lib.resize(coarse, (width, height), interpolation=lib.INTER_CUBIC)
    order = np.argsort(field, axis=None, kind="stable")
    ranks = np.empty(height * width, np.float32)
    ranks[order] = np.linspace(0, 1, height * width, dtype=np.float32)
    uniform = ranks.reshape(height, width)
    uniform.setflags(write=False)
    return uniform


@lru_cache(maxsize=32)
def cells(height: int, width: int, count: int, pattern: int = 0) -> tuple[Image, Image]:
    """Voronoi cells of jittered seeds.

    Returns:
        The index of each pixel's cell ``[H, W]`` and the centres ``[cells, 2]`` as x, y pixels.
    """
    columns = max(2, round(count * width / height))
    rng = generator(12, pattern, count)
    jitter = rng.uniform(0.15, 0.85, (count, columns, 2))
    grid_y, grid_x = np.mgrid[0:count, 0:columns]
    centres = np.stack(
        [(grid_x + jitter[..., 0]) * width / columns, (grid_y + jitter[..., 1]) * height / count], 2
    ).reshape(-1, 2)
    y, x = np.mgrid[0:height, 0:width]
    nearest = np.zeros((height, width), np.float32)
    best = np.full((height, width), np.inf)
    for number, (centre_x, centre_y) in enumerate(centres):
        distance = (x - centre_x) ** 2 + (y - centre_y) ** 2
        closer = distance < best
        nearest[closer] = number
        best[closer] = distance[closer]
    return nearest, centres.astype(np.float32)
