"""Fixed random fields that effects grow along: noise, cells, grain.

They depend on a size and a pattern only, never on the scene, so that a reference video shows all
that is needed to draw its target.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vap.synth.opencv import cv2
from vap.synth.scene import Image


def generator(*key: int) -> np.random.Generator:
    """A counter-based generator, equal on every platform for equal keys (each ≥ 0)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


@lru_cache(maxsize=64)
def smooth_noise(height: int, width: int, cells: int, pattern: int = 0) -> Image:
    """Noise ``[H, W]`` with ``cells`` blobs along the height, ranked to be uniform on 0 to 1."""
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


@lru_cache(maxsize=64)
def draws(count: int, columns: int, pattern: int = 0) -> Image:
    """Fixed uniform numbers ``[count, columns]`` on 0 to 1, for particles."""
    numbers = generator(13, pattern, count, columns).random((count, columns), dtype=np.float32)
    numbers.setflags(write=False)
    return numbers


@lru_cache(maxsize=16)
def cells(height: int, width: int, count: int, pattern: int = 0) -> tuple[Image, Image, Image]:
    """Voronoi cells of jittered seeds, ``count`` along the height.

    Returns:
        The number of each pixel's cell ``[H, W]``, the distance to its border in pixels
        ``[H, W]`` (approximate), and the centers ``[cells, 2]`` as x, y in pixels.
    """
    columns = max(2, round(count * width / height))
    jitter = generator(12, pattern, count).uniform(0.15, 0.85, (count, columns, 2))
    grid_y, grid_x = np.mgrid[0:count, 0:columns]
    x = ((grid_x + jitter[..., 0]) * width / columns).ravel()
    y = ((grid_y + jitter[..., 1]) * height / count).ravel()
    rows, row_of = np.mgrid[0:height, 0:width]
    nearest = np.zeros((height, width), np.float32)
    best = np.full((height, width), np.inf, np.float32)
    second = best.copy()
    for number, (centre_x, centre_y) in enumerate(zip(x, y, strict=True)):
        distance = np.hypot(row_of - centre_x, rows - centre_y).astype(np.float32)
        closer = distance < best
        second = np.where(closer, best, np.minimum(second, distance))
        nearest[closer] = number
        best = np.minimum(best, distance)
    border = (second - best) / 2
    for field in (nearest, border):
        field.setflags(write=False)
    return nearest, border, np.stack([x, y], axis=1).astype(np.float32)
