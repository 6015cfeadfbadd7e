"""Places: sky, ground and what stands on it, nearer towards the lower edge.

Every function takes height, width, a seed and two colors, and returns the picture ``[H, W, 3]``
and how near each pixel is ``[H, W]``: 0 at infinity, 1 beside the subject.
"""

from __future__ import annotations

import numpy as np

from vap.synth.curves import ramp
from vap.synth.fields import generator, smooth_noise
from vap.synth.opencv import cv2
from vap.synth.palette import rgb, shade
from vap.synth.scene import Image
from vap.synth.warp import pixel_grid

Drawn = tuple[Image, Image]
_LIT_WINDOWS = 0.55


def sky(height: int, width: int, top: Image, bottom: Image) -> Image:
    """A vertical gradient ``[H, W, 3]``."""
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    return np.repeat(top * (1 - share) + bottom * share, width, axis=1)


def texture(height: int, width: int, cells: int, seed: int, strength: float) -> Image:
    """Brightness factors ``[H, W, 1]`` around 1."""
    return 1 + strength * (smooth_noise(height, width, cells, seed % 8)[..., None] - 0.5)


def disc(height: int, width: int, x: float, y: float, radius: float) -> Image:
    """An antialiased disc mask ``[H, W, 1]``; position in shares, radius in heights."""
    grid_x, grid_y = pixel_grid(height, width)
    distance = np.hypot(grid_x - x * width, grid_y - y * height)
    return np.clip(radius * height - distance + 0.5, 0, 1)[..., None]


def ridge(height: int, width: int, line: Image) -> Image:
    """Mask ``[H, W, 1]`` of all below a line ``[W]`` of pixel rows."""
    _, y = pixel_grid(height, width)
    return np.clip(y - line[None, :] + 0.5, 0, 1)[..., None]


def waves(rng: np.random.Generator, width: int, *, slow: float, fast: float) -> Image:
    """A wavy line ``[W]`` between about -1 and 1 with two random tones."""
    x = np.linspace(0, 2 * np.pi, width, dtype=np.float32)
    return 0.65 * np.sin(x * slow * rng.uniform(0.7, 1.3) + rng.uniform(0, 6.3)) + 0.35 * np.sin(
        x * fast * rng.uniform(0.7, 1.3) + rng.uniform(0, 6.3)
    )


def jagged(rng: np.random.Generator, width: int, peaks: int) -> Image:
    """A line ``[W]`` of straight slopes between random heights 0 to 1."""
    knots = rng.random(2 * peaks + 1) * np.where(np.arange(2 * peaks + 1) % 2, 1.0, 0.35)
    return np.interp(np.linspace(0, 2 * peaks, width), np.arange(2 * peaks + 1), knots)


def meadow(height: int, width: int, seed: int, colour: Image, accent: Image) -> Drawn:
    rng = generator(21, seed)
    picture = sky(height, width, shade(colour, 0.3), shade(colour, 0.8))
    nearness = np.full((height, width), 0.1, np.float32)
    for number in range(3):
        line = height * (0.45 + 0.16 * number + 0.05 * waves(rng, width, slow=1, fast=2))
        cover = ridge(height, width, line)
        tone = texture(height, width, 6 + 6 * number, seed + number, 0.4)
        grass = shade(rgb("green"), 0.25 - 0.2 * number) * tone
        picture = picture * (1 - cover) + grass * cover
        nearness = np.maximum(nearness, cover[..., 0] * (0.35 + 0.25 * number))
    for x, y in rng.uniform((0, 0.86), (1, 1), (24, 2)):
        mark = disc(height, width, x, y, 0.012)
        picture = picture * (1 - mark) + shade(accent, 0.4) * mark
    return picture, nearness


def mountains(height: int, width: int, seed: int, colour: Image, accent: Image) -> Drawn:
    rng = generator(22, seed)
    picture = sky(height, width, colour, shade(colour, 0.75))
    nearness = np.full((height, width), 0.05, np.float32)
    _, y = pixel_grid(height, width)
    for number, peaks in enumerate((3, 4)):
        line = height * (0.55 + 0.17 * number - (0.42 - 0.1 * number) * jagged(rng, width, peaks))
        cover = ridge(height, width, line)
        snow = np.clip(1 - (y - line[None]) / (0.1 * height), 0, 1)[..., None]
        rock = shade(accent, -0.2 - 0.2 * number) * texture(height, width, 10, seed + number, 0.4)
        picture = picture * (1 - cover) + (rock * (1 - snow) + 0.95 * snow) * cover
        nearness = np.maximum(nearness, cover[..., 0] * (0.2 + 0.2 * number))
    plain = ridge(height, width, np.full(width, 0.76 * height, np.float32))
    field = shade(rgb("green"), -0.25) * texture(height, width, 14, seed, 0.5)
    return picture * (1 - plain) + field * plain, np.maximum(nearness, 0.8 * plain[..., 0])


def seaside(height: int, width: int, seed: int, colour: Image, accent: Image) -> Drawn:
    rng = generator(23, seed)
    x, y = pixel_grid(height, width)
    picture = sky(height, width, colour, shade(accent, 0.5))
    where = float(rng.uniform(0.15, 0.85))
    sun = disc(height, width, where, 0.38, 0.11)
    picture = picture * (1 - sun) + np.array([1, 0.93, 0.7], np.float32) * sun
    sea = ridge(height, width, np.full(width, 0.48 * height, np.float32))
    glitter = np.sin(y / height * 130) * np.exp(-(((x / width - where) / 0.1) ** 2))
    water = shade(rgb("teal"), -0.1) * texture(height, width, 16, seed, 0.5)
    picture = picture * (1 - sea) + (water + 0.3 * np.maximum(glitter, 0)[..., None]) * sea
    beach = ridge(height, width, height * (0.82 + 0.03 * waves(rng, width, slow=1, fast=3)))
    sand = np.array([0.9, 0.78, 0.56], np.float32) * texture(height, width, 24, seed, 0.25)
    nearness = 0.05 + 0.4 * sea[..., 0] + 0.45 * beach[..., 0]
    return picture * (1 - beach) + sand * beach, nearness


def dunes(height: int, width: int, seed: int, colour: Image, accent: Image) -> Drawn:
    rng = generator(24, seed)
    picture = sky(height, width, shade(colour, 0.1), shade(colour, 0.85))
    nearness = np.full((height, width), 0.05, np.float32)
    for number in range(4):
        wave = waves(rng, width, slow=1.2, fast=2.2)
        line = height * (0.42 + 0.15 * number + 0.08 * wave)
        cover = ridge(height, width, line)
        lit = 0.85 + 0.3 * np.clip(np.gradient(wave) * width / 6, -1, 1)[None, :, None]
        sand = (0.6 * np.array([0.93, 0.7, 0.42], np.float32) + 0.4 * shade(accent, 0.3)) * lit
        picture = picture * (1 - cover) + sand * (1 - 0.07 * number) * cover
        nearness = np.maximum(nearness, cover[..., 0] * (0.2 + 0.2 * number))
    return picture, nearness


def city(height: int, width: int, seed: int, colour: Image, accent: Image) -> Drawn:
    rng = generator(25, seed)
    lib = cv2()
    picture = np.ascontiguousarray(sky(height, width, shade(colour, -0.35), shade(colour, 0.5)))
    nearness = np.full((height, width), 0.1, np.float32)
    for depth in range(2):
        left = -rng.uniform(0, 0.1)
        while left < 1:
            wide, tall = rng.uniform(0.08, 0.16), rng.uniform(0.25, 0.6) - 0.12 * depth
            box = [round(left * width), round((0.8 - tall) * height)]
            size = [round(wide * width), round(tall * height)]
            wall = shade(accent, -0.45 + 0.25 * rng.random() - 0.15 * depth)
            lib.rectangle(picture, (*box, *size), wall.tolist(), -1)
            lib.rectangle(nearness, (*box, *size), 0.3 + 0.2 * depth, -1)
            for row in np.arange(0.8 - tall + 0.04, 0.76, 0.07):
                for column in np.arange(left + 0.02, left + wide - 0.02, 0.03):
                    if rng.random() < _LIT_WINDOWS:
                        spot = (round(column * width), round(row * height))
                        pane = (max(1, width // 70), max(1, height // 36))
                        lib.rectangle(picture, (*spot, *pane), (1.0, 0.88, 0.5), -1)
            left += wide + rng.uniform(0, 0.03)
    street = ridge(height, width, np.full(width, 0.8 * height, np.float32))
    asphalt = rgb("grey") * texture(height, width, 30, seed, 0.2) * 0.7
    return picture * (1 - street) + asphalt * street, np.maximum(nearness, 0.85 * street[..., 0])


def forest(height: int, width: int, seed: int, colour: Image, accent: Image) -> Drawn:
    rng = generator(26, seed)
    x, _ = pixel_grid(height, width)
    mist = shade(colour, 0.6)
    picture = sky(height, width, mist, shade(mist, -0.15))
    nearness = np.full((height, width), 0.1, np.float32)
    for depth in range(3):
        bark = mist * (0.6 - 0.3 * depth) + shade(accent, -0.6) * (0.4 + 0.3 * depth)
        for place in (np.arange(6 - depth) + rng.uniform(0, 1, 6 - depth)) / (6 - depth):
            half = (0.012 + 0.011 * depth) * width
            trunk = np.clip(half - np.abs(x - place * width) + 0.5, 0, 1)[..., None]
            picture = picture * (1 - trunk) + bark * trunk
            nearness = np.maximum(nearness, trunk[..., 0] * (0.25 + 0.2 * depth))
    floor = ridge(height, width, height * (0.8 + 0.02 * waves(rng, width, slow=2, fast=5)))
    moss = shade(rgb("green"), -0.4) * texture(height, width, 20, seed, 0.7)
    return picture * (1 - floor) + moss * floor, np.maximum(nearness, 0.85 * floor[..., 0])


def room(height: int, width: int, seed: int, colour: Image, accent: Image) -> Drawn:
    rng = generator(27, seed)
    lib = cv2()
    x, y = pixel_grid(height, width)
    stripes = np.sin(x / height * rng.uniform(30, 60))[..., None]
    picture = np.ascontiguousarray(shade(colour, 0.3) * (1 + 0.06 * np.sign(stripes)))
    left, top = rng.choice([rng.uniform(0.04, 0.12), rng.uniform(0.66, 0.74)]), 0.1
    box = [round(left * width), round(top * height), round(0.24 * width), round(0.36 * height)]
    rim = max(1, height // 32)
    lib.rectangle(picture, box, shade(accent, -0.4).tolist(), -1)
    pane = [box[0] + rim, box[1] + rim, box[2] - 2 * rim, box[3] - 2 * rim]
    lib.rectangle(picture, pane, shade(accent, 0.6).tolist(), -1)
    floor = ridge(height, width, np.full(width, 0.74 * height, np.float32))
    fan = (x - width / 2) / (y - 0.45 * height).clip(0.1 * height)
    boards = 1 - 0.18 * ramp(np.sin(fan * 22), 0.85, 0.95)[..., None]
    wood = shade(rgb("brown"), 0.25) * boards * texture(height, width, 12, seed, 0.2)
    picture = picture * (1 - floor) + wood * floor
    return picture, 0.4 + 0.45 * floor[..., 0]


def starry_hill(height: int, width: int, seed: int, colour: Image, accent: Image) -> Drawn:
    rng = generator(28, seed)
    picture = sky(height, width, shade(colour, -0.75), shade(colour, -0.3))
    for star_x, star_y, size in rng.uniform((0, 0, 0.004), (1, 0.7, 0.014), (40, 3)):
        picture = np.maximum(picture, disc(height, width, star_x, star_y, size) * 0.95)
    moon_x = float(rng.uniform(0.1, 0.9))
    moon = disc(height, width, moon_x, 0.22, 0.12)
    picture = picture * (1 - moon) + shade(accent, 0.75) * moon
    hill = ridge(height, width, height * (0.72 + 0.07 * waves(rng, width, slow=1, fast=2)))
    ground = shade(accent, -0.7) * texture(height, width, 16, seed, 0.6)
    return picture * (1 - hill) + ground * hill, 0.05 + 0.8 * hill[..., 0]


LANDSCAPES = {
    "meadow": ("on a flowery meadow under a {colour} sky", meadow),
    "mountains": ("below snowy mountains under a {colour} sky", mountains),
    "seaside": ("on a beach under a {colour} sky", seaside),
    "dunes": ("among sand dunes under a {colour} sky", dunes),
    "city": ("before a city skyline under a {colour} sky", city),
    "forest": ("in a {colour} misty forest", forest),
    "room": ("in a room with {colour} wallpaper", room),
    "starry hill": ("on a hill at night under a {colour} starry sky", starry_hill),
}
