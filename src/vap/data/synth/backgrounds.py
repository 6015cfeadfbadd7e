"""Backgrounds: landscapes and textures, with how near each pixel is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from vap.data.synth.fields import generator, smooth_noise
from vap.data.synth.opencv import cv2
from vap.data.synth.palette import rgb, shade
from vap.data.synth.scene import Image
from vap.data.synth.warp import pixel_grid

Draw = Callable[[int, int, int, Image], tuple[Image, Image]]


def _flat(height: int, width: int) -> Image:
    return np.full((height, width), 0.6, np.float32)


def _meadow(height: int, width: int, seed: int, colour: Image) -> tuple[Image, Image]:
    x, y = pixel_grid(height, width)
    rng = generator(21, seed)
    sky = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    picture = shade(colour, 0.3) * (1 - sky) + shade(colour, 0.8) * sky
    picture = np.repeat(picture, width, axis=1)
    nearness = np.full((height, width), 0.1, np.float32)
    ground = rgb("green") * np.float32(0.8)
    for number in range(3):
        level = height * (0.45 + 0.16 * number)
        phase, turns = rng.uniform(0, 6.28), rng.uniform(0.7, 1.8)
        ridge = level + height * 0.06 * np.sin(x / width * 6.28 * turns + phase)
        cover = np.clip(y - ridge + 0.5, 0, 1)[..., None]
        tone = 0.75 + 0.5 * smooth_noise(height, width, 6 + 6 * number, seed % 8)[..., None]
        picture = picture * (1 - cover) + shade(ground, 0.35 - 0.2 * number) * tone * cover
        nearness = np.maximum(nearness, cover[..., 0] * (0.35 + 0.25 * number))
    return picture, nearness


def _leaves(height: int, width: int, seed: int, colour: Image) -> tuple[Image, Image]:
    rng = generator(22, seed)
    picture = np.full((height, width, 3), shade(colour, -0.5), np.float32)
    lib = cv2()
    for radius in np.sort(rng.pareto(1.5, 160) * 0.03 + 0.03)[::-1]:
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        tint = np.clip(colour + rng.normal(0, 0.22, 3), 0, 1)
        size = max(1, round(min(radius, 0.35) * height))
        lib.circle(
            picture, (round(x * 8), round(y * 8)), size * 8, tint.tolist(), -1, lib.LINE_8, 3
        )
    return picture, _flat(height, width)


def _stripes(height: int, width: int, seed: int, colour: Image) -> tuple[Image, Image]:
    x, y = pixel_grid(height, width)
    rng = generator(23, seed)
    angle, period = rng.uniform(0, np.pi), rng.uniform(0.1, 0.25) * height
    phase = np.sin((x * np.cos(angle) + y * np.sin(angle)) / period * 6.28)
    mix = np.clip(phase * 3 + 0.5, 0, 1)[..., None].astype(np.float32)
    return colour * mix + shade(colour, 0.5) * (1 - mix), _flat(height, width)


def _clouds(height: int, width: int, seed: int, colour: Image) -> tuple[Image, Image]:
    mix = smooth_noise(height, width, 3 + seed % 3, 100 + seed % 64)[..., None]
    return shade(colour, -0.3) * (1 - mix) + shade(colour, 0.6) * mix, _flat(height, width)


BACKGROUNDS: Mapping[str, tuple[str, Draw]] = MappingProxyType(
    {
        "meadow": ("on a meadow under a {colour} sky", _meadow),
        "leaves": ("in front of {colour} dots", _leaves),
        "stripes": ("in front of {colour} stripes", _stripes),
        "clouds": ("in front of {colour} mist", _clouds),
    }
)
UNSEEN_BACKGROUNDS: frozenset[str] = frozenset()
