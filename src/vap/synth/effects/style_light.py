"""Style, part one: the whole picture changes its light and colors."""

from __future__ import annotations

import numpy as np

from vap.synth.canvas import Canvas
from vap.synth.condition import Catalogue, Choice, Range
from vap.synth.curves import ease, ramp
from vap.synth.effects.arrival import ARRIVAL, arrive, gradient, still
from vap.synth.fields import draws, smooth_noise
from vap.synth.filters import blur, edges, luminance, mixed, saturate
from vap.synth.palette import rgb, shade
from vap.synth.scene import Image, Scene
from vap.synth.warp import pixel_grid, remap_picture

LIGHT = Catalogue("style")


@still(LIGHT, "turns into a photographic negative")
def invert(scene: Scene) -> Image:
    return 1 - scene.image


@still(LIGHT, "turns into an old sepia photograph")
def sepia(scene: Scene) -> Image:
    toned = gradient(
        luminance(scene.image), [(0.16, 0.08, 0.03), (0.62, 0.44, 0.26), (1, 0.93, 0.78)]
    )
    return toned * _vignette(scene, 0.5)


def _vignette(scene: Scene, strength: float) -> Image:
    """Factors ``[H, W, 1]`` that darken the corners."""
    x, y = pixel_grid(scene.height, scene.width)
    far = np.hypot(x / scene.width - 0.5, y / scene.height - 0.5) / 0.707
    return (1 - strength * far**2.5)[..., None]


@still(LIGHT, "falls into night", moon=Range(0.2, 0.8))
def night(scene: Scene, *, moon: float) -> Image:
    x, _ = pixel_grid(scene.height, scene.width)
    pool = np.exp(-(((x / scene.width - moon) / 0.25) ** 2))[..., None]
    blue = np.array([0.16, 0.22, 0.5], np.float32) * (0.25 + 1.1 * luminance(scene.image))
    dark: Image = mixed(blue, scene.image * 0.3, 0.25) * (0.6 + 0.5 * pool)
    stars = Canvas(scene.height, scene.width)
    for across, down, size in draws(30, 3):
        radius = (0.007 + 0.008 * float(size)) * scene.height
        stars.disc(across * scene.width, 0.35 * down * scene.height, radius, rgb("white"))
    dark = stars.layer().over(dark)
    clear = dark * (1 - scene.subject.alpha) + scene.subject.alpha * np.minimum(
        dark, 0.75 * blue + 0.1
    )
    return np.clip(clear, 0, 1).astype(np.float32)


@still(LIGHT, "is seen by a thermal camera")
def thermal(scene: Scene) -> Image:
    warm = 0.45 * luminance(scene.image) + 0.5 * blur(scene.subject.alpha, 0.03 * scene.height)
    heat = blur(np.clip(warm, 0, 1), 0.012 * scene.height)
    stops = [
        (0.02, 0, 0.2),
        (0.3, 0, 0.6),
        (0.85, 0.1, 0.45),
        (1, 0.55, 0.05),
        (1, 0.95, 0.5),
        (1, 1, 1),
    ]
    return gradient(heat, stops)


@still(LIGHT, "turns into glowing neon lines", colour=Choice(("pink", "teal", "yellow", "two")))
def neon(scene: Scene, *, colour: str) -> Image:
    x, _ = pixel_grid(scene.height, scene.width)
    line = ramp(edges(scene.image, 0.01 * scene.height), 0.12, 0.6)
    glow = np.clip(line + 1.2 * blur(line, 0.03 * scene.height), 0, 1.3)
    if colour == "two":
        side = (x / scene.width)[..., None]
        tint: Image = rgb("pink") * (1 - side) + rgb("teal") * side
    else:
        tint = shade(rgb(colour), 0.2)
    lit = np.clip(glow * tint + 0.35 * line + 0.06 * scene.image, 0, 1)
    return lit.astype(np.float32)


@LIGHT.effect("turns into an old silent film", arrival=ARRIVAL)
def old_film(scene: Scene, t: float, *, arrival: str) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    chance = draws(24, 4, int(t * 32))
    weave = (float(chance[0, 0]) - 0.5) * 0.035 * scene.height
    grey = luminance(remap_picture(scene.image, x, y + weave))
    harsh = np.clip((grey - 0.5) * 1.35 + 0.5, 0, 1) * (0.78 + 0.3 * float(chance[1, 0]))
    film = np.repeat(harsh * _vignette(scene, 0.75), 3, axis=2)
    dirt = Canvas(scene.height, scene.width)
    for place, bright, _, _ in chance[2:5]:
        column = float(place) * scene.width
        line = [(column, -2.0), (column, scene.height + 2.0)]
        dirt.line(line, 0.015 * scene.height, np.full(3, 0.05 + 0.85 * np.round(bright)))
    for across, down, size, _ in chance[5:12]:
        radius = (0.01 + 0.015 * float(size)) * scene.height
        dirt.disc(across * scene.width, down * scene.height, radius, np.full(3, 0.05))
    film = dirt.layer().fade(0.8).over(film)
    return arrive(scene, film.astype(np.float32), t, arrival)


@LIGHT.effect("sinks under water", arrival=Choice(("up", "everywhere")), depth=Range(0.5, 1.0))
def underwater(scene: Scene, t: float, *, arrival: str, depth: float) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    unit = scene.height
    sway = 0.025 * unit * t
    bent = remap_picture(
        scene.image,
        x + sway * np.sin(y / unit * 14 + 10 * t),
        y + sway * np.sin(x / unit * 12 - 8 * t),
    )
    water = np.array([0.05, 0.42, 0.62], np.float32) * (1.25 - depth * 0.7 * y / unit)[..., None]
    field = smooth_noise(scene.height, scene.width, 6)
    shifted = remap_picture(field, x + 0.35 * unit * t, y + 0.12 * unit * np.sin(6 * t))
    net = np.exp(-((np.abs(shifted - field[::-1]) / 0.08) ** 2))[..., None]
    drowned = bent * np.array([0.35, 0.62, 0.75], np.float32) + 0.55 * water + 0.28 * net
    return arrive(scene, np.clip(drowned, 0, 1).astype(np.float32), t, arrival)


@LIGHT.effect("breaks up into a digital glitch", strength=Range(0.06, 0.12))
def glitch(scene: Scene, t: float, *, strength: float) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    amount = strength * scene.height * ease(min(1.4 * t, 1))
    chance = draws(12, 2, int(t * 12))
    rows = np.floor(y / scene.height * 12).astype(int).clip(0, 11)
    jump = ramp(chance[rows, 0], 0.5, 0.6) * (chance[rows, 1] - 0.5) * 5 * amount
    parts = [
        remap_picture(np.ascontiguousarray(scene.image[..., channel]), x + jump + offset, y)
        for channel, offset in enumerate((-amount, 0.0, amount))
    ]
    scan = 1 - 0.25 * ease(t) * (np.floor(y / (0.03 * scene.height)) % 2)
    return saturate(np.stack(parts, axis=2) * scan[..., None], 1 + 0.6 * ease(t)).astype(np.float32)


@still(LIGHT, "appears on the green screen of an old handheld game")
def game_boy(scene: Scene) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    dot = max(1.0, scene.height / 48)
    column, row = np.floor(x / dot), np.floor(y / dot)
    grey = remap_picture(
        luminance(blur(scene.image, 0.4 * dot))[..., 0], (column + 0.5) * dot, (row + 0.5) * dot
    )
    dither = ((column % 2) * 2 + (row % 2) * 3) % 4 / 4 - 0.375
    level = np.clip(np.round(grey * 3 + 0.9 * dither), 0, 3) / 3
    stops = [(0.06, 0.22, 0.06), (0.19, 0.38, 0.19), (0.55, 0.67, 0.06), (0.73, 0.8, 0.2)]
    return gradient(level[..., None], stops)
