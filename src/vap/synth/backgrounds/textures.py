"""Backdrops without ground: patterns and abstract textures, equally near everywhere."""

from __future__ import annotations

import numpy as np

from vap.synth.curves import ramp
from vap.synth.fields import generator, smooth_noise
from vap.synth.opencv import cv2
from vap.synth.palette import shade
from vap.synth.scene import Image
from vap.synth.warp import pixel_grid

Drawn = tuple[Image, Image]
_NEARNESS = 0.5
_JULIA_STEPS, _JULIA_ESCAPE = 14, 2.0


def _backdrop(picture: Image) -> Drawn:
    return picture, np.full(picture.shape[:2], _NEARNESS, np.float32)


def _mix(first: Image, second: Image, share: Image) -> Drawn:
    """Blend two colors by a map ``[H, W]``."""
    share = np.clip(share, 0, 1).astype(np.float32)[..., None]
    return _backdrop(first * (1 - share) + second * share)


def leaves(height: int, width: int, seed: int, colour: Image, accent: Image) -> Drawn:
    rng = generator(31, seed)
    picture = np.full((height, width, 3), shade(colour, -0.5), np.float32)
    lib = cv2()
    for radius in np.sort(rng.pareto(1.5, 160) * 0.03 + 0.03)[::-1]:
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        base = accent if rng.integers(4) == 0 else colour
        tint = np.clip(base + rng.normal(0, 0.13, 3), 0, 1)
        size = round(min(float(radius), 0.35) * height * 8)
        lib.circle(picture, (round(x * 8), round(y * 8)), size, tint.tolist(), -1, lib.LINE_8, 3)
    return _backdrop(picture)


def stripes(height: int, width: int, seed: int, colour: Image, accent: Image) -> Drawn:
    x, y = pixel_grid(height, width)
    rng = generator(32, seed)
    angle, period = rng.uniform(0, np.pi), rng.uniform(0.14, 0.3) * height
    phase = np.sin((x * np.cos(angle) + y * np.sin(angle)) / period * 2 * np.pi)
    return _mix(colour, shade(accent, 0.5), phase * period / 4 + 0.5)


def mist(height: int, width: int, seed: int, colour: Image, accent: Image) -> Drawn:
    field = smooth_noise(height, width, 3 + seed % 3, 100 + seed % 64)
    return _mix(shade(colour, -0.2), shade(accent, 0.6), field)


def checks(height: int, width: int, seed: int, colour: Image, accent: Image) -> Drawn:
    x, y = pixel_grid(height, width)
    side = generator(33, seed).uniform(0.12, 0.25) * height
    wave = np.sin(x / side * np.pi) * np.sin(y / side * np.pi)
    return _mix(colour, shade(accent, 0.4), wave * side / 2 + 0.5)


def spots(height: int, width: int, seed: int, colour: Image, accent: Image) -> Drawn:
    x, y = pixel_grid(height, width)
    side = generator(34, seed).uniform(0.16, 0.28) * height
    row = np.floor(y / side)
    offset_x = (x / side + 0.5 * (row % 2)) % 1 - 0.5
    offset_y = (y / side) % 1 - 0.5
    distance = np.hypot(offset_x, offset_y) * side
    return _mix(shade(colour, 0.2), shade(accent, -0.1), 0.28 * side - distance + 0.5)


def marble(height: int, width: int, seed: int, colour: Image, accent: Image) -> Drawn:
    x, y = pixel_grid(height, width)
    bend = smooth_noise(height, width, 4, seed % 32)
    vein = np.abs(np.sin(((x + y) / height * 1.5 + 2.2 * bend) * np.pi))
    return _mix(shade(accent, -0.3), shade(colour, 0.55), vein**0.5)


def sunburst(height: int, width: int, seed: int, colour: Image, accent: Image) -> Drawn:
    x, y = pixel_grid(height, width)
    rng = generator(36, seed)
    angle = np.arctan2(y - rng.uniform(0.3, 0.7) * height, x - rng.uniform(0.2, 0.8) * width)
    rays = int(rng.integers(6, 11))
    return _mix(colour, shade(accent, 0.5), np.sin(angle * rays) * 4 + 0.5)


def bokeh(height: int, width: int, seed: int, colour: Image, accent: Image) -> Drawn:
    rng = generator(37, seed)
    picture = np.full((height, width, 3), shade(colour, -0.65), np.float32)
    lib = cv2()
    for _ in range(30):
        layer = np.zeros((height, width, 3), np.float32)
        where = (round(rng.uniform(0, width) * 8), round(rng.uniform(0, height) * 8))
        tint = (colour if rng.integers(2) else accent) * rng.uniform(0.25, 0.6)
        size = round(rng.uniform(0.04, 0.13) * height * 8)
        lib.circle(layer, where, size, tint.tolist(), -1, lib.LINE_8, 3)
        picture += layer
    return _backdrop(picture)


def hexagons(height: int, width: int, seed: int, colour: Image, accent: Image) -> Drawn:
    x, y = pixel_grid(height, width)
    side = generator(38, seed).uniform(0.16, 0.26) * height
    first = _lattice(x, y, side, 0.0)
    second = _lattice(x, y, side, 0.5)
    nearer = np.where(first[0] < second[0], first[1], second[1])
    inner = ramp(np.abs(first[0] - second[0]), 0.03, 0.09)
    tone = 0.5 + 0.5 * np.sin(nearer * 12.9898 + seed % 97)
    return _mix(shade(accent, -0.4), shade(colour, 0.3), inner * (0.35 + 0.65 * tone))


def _lattice(x: Image, y: Image, side: float, offset: float) -> tuple[Image, Image]:
    """Distance to the nearest point of a rectangular lattice, and a number for that point."""
    column, row = x / side + offset, y / (side * 1.732) + offset
    distance = np.hypot(column - np.round(column), (row - np.round(row)) * 1.732)
    return distance, np.round(column) * 3.7 + np.round(row) * 9.1 + offset


def fractal(height: int, width: int, seed: int, colour: Image, accent: Image) -> Drawn:
    x, y = pixel_grid(height, width)
    rng = generator(39, seed)
    angle = rng.uniform(0, 2 * np.pi)
    constant = np.complex64(0.7885 * np.exp(1j * angle))
    z = ((x - width / 2) + 1j * (y - height / 2)).astype(np.complex64) / (0.42 * height)
    escape = np.zeros((height, width), np.float32)
    for _ in range(_JULIA_STEPS):
        inside = np.abs(z) < _JULIA_ESCAPE
        escape += inside
        z = np.where(inside, z * z + constant, z)
    return _mix(shade(colour, -0.6), shade(accent, 0.5), escape / _JULIA_STEPS)


TEXTURES = {
    "leaves": ("in front of overlapping {colour} discs", leaves),
    "stripes": ("in front of {colour} stripes", stripes),
    "mist": ("in front of {colour} mist", mist),
    "checks": ("in front of {colour} checks", checks),
    "spots": ("in front of {colour} polka dots", spots),
    "marble": ("in front of {colour} marble", marble),
    "sunburst": ("in front of {colour} rays", sunburst),
    "bokeh": ("in front of blurred {colour} lights", bokeh),
    "hexagons": ("in front of {colour} hexagons", hexagons),
    "fractal": ("in front of a {colour} fractal", fractal),
}
