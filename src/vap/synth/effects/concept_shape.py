"""Concept, shape: the subject is deformed, divided or taken apart."""

from __future__ import annotations

import numpy as np

from vap.synth.canvas import Canvas
from vap.synth.condition import PATTERN, Catalogue, Choice, Range
from vap.synth.curves import accelerate, brake, ease, ramp, wave
from vap.synth.effects.arrival import across_subject
from vap.synth.effects.views import subject_moved
from vap.synth.fields import cells, draws, smooth_noise
from vap.synth.palette import rgb, shade
from vap.synth.scene import Image, Layer, Scene
from vap.synth.warp import moved, paste, pixel_grid, remap_layer, warp_layer

SHAPE = Catalogue("concept")


@SHAPE.effect("inflates like a balloon and floats away", size=Range(1.3, 1.7))
def inflate_and_float(scene: Scene, t: float, *, size: float) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    swell = ease(min(t / 0.45, 1))
    rise = max(0.0, t - 0.35) / 0.65
    middle_y = scene.centre[1] - 1.4 * scene.height * accelerate(rise)
    across = (x - scene.centre[0]) / scene.radius
    down = (y - middle_y) / scene.radius
    # A bulge: the middle is magnified more than the rim.
    zoom = 1 + (size - 1) * swell
    bulge = 1 - 0.35 * swell * np.clip(1 - (across**2 + down**2) / zoom**2, 0, 1)
    source_x = scene.centre[0] + across * scene.radius / zoom * bulge
    source_y = scene.centre[1] + down * scene.radius / zoom * bulge
    return remap_layer(scene.subject, source_x, source_y).over(scene.background)


@SHAPE.effect("melts into a puddle", drips=Range(2, 4))
def melt(scene: Scene, t: float, *, drips: float) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    foot = scene.feet[1]
    share = ease(t)
    across = (x - scene.centre[0]) / scene.extent[0]
    wavy = 0.5 + 0.5 * np.cos(across * drips * 2.2)
    # Columns sink at different speeds; all end as flat as the puddle.
    sunk = np.clip(share * (1.35 - 0.7 * wavy * (1 - share)), 0, 1)
    spread = 1 + 0.7 * share**2 * np.clip(1 - (foot - y) / scene.extent[1], 0, 1)
    source_y = foot - (foot - y) / (1 - 0.86 * sunk)
    source_x = scene.centre[0] + (x - scene.centre[0]) / spread
    return remap_layer(scene.subject, source_x, source_y).over(scene.background)


@SHAPE.effect("dissolves into nothing with glowing rims", pattern=PATTERN)
def dissolve(scene: Scene, t: float, *, pattern: str) -> Image:
    noise = smooth_noise(scene.height, scene.width, 8, int(pattern))[..., None]
    left = ramp(noise - 1.25 * t, -0.2, -0.08)
    rim = (1 - ramp(noise - 1.25 * t, -0.08, 0.1)) * min(8 * t, 1)
    ember = np.array([1.0, 0.6, 0.1], np.float32)
    return scene.subject.paint(ember, rim).fade(left).over(scene.background)


@SHAPE.effect("shatters into pieces", pattern=PATTERN, force=Range(0.5, 0.9))
def shatter(scene: Scene, t: float, *, pattern: str, force: float) -> Image:
    if t == 0:
        return scene.image
    picture = scene.background.copy()
    shards = scene.once(("shards", pattern), lambda: _shards(scene, int(pattern)))
    chance = draws(len(shards), 2, int(pattern))
    for (piece, corner), (speed, turn) in zip(shards, chance, strict=True):
        tall, wide = piece.alpha.shape[:2]
        middle = (corner[0] + wide / 2, corner[1] + tall / 2)
        push = force * (0.6 + 0.8 * float(speed)) * brake(t) * 1.4
        shift = (
            (middle[0] - scene.centre[0]) * push * 1.6,
            (middle[1] - scene.centre[1] - 0.3 * scene.radius) * push
            + 1.5 * scene.height * accelerate(t),
        )
        matrix = moved(middle, shift=shift, degrees=(float(turn) - 0.5) * 500 * t)
        paste(picture, piece, corner, matrix)
    return picture


def _shards(scene: Scene, pattern: int) -> list[tuple[Layer, tuple[int, int]]]:
    """The subject cut into cells, each cropped to its box, with the box's upper left corner."""
    numbers, border, centres = cells(scene.height, scene.width, 5, pattern)
    cut = scene.subject.fade(ramp(border, 0.0, 1.5)[..., None])
    shards = []
    for number in range(len(centres)):
        own = (numbers == number) & (scene.subject.alpha[..., 0] > 0)
        if not own.any():
            continue
        rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        mask = own[box][..., None]
        piece = Layer(cut.rgb[box] * mask, cut.alpha[box] * mask)
        shards.append((piece, (int(columns[0]), int(rows[0]))))
    return shards


@SHAPE.effect("multiplies into a row of copies", copies=Choice(("2", "4")), gap=Range(0.9, 1.2))
def multiply(scene: Scene, t: float, *, copies: str, gap: float) -> Image:
    picture = scene.background
    for place in range(int(copies) // 2, 0, -1):
        for side in (-1, 1):
            shift = side * place * gap * 2 * scene.extent[0] * 0.8 * ease(t)
            matrix = moved(scene.feet, shift=(shift, 0.0), scale=1 - 0.2 * place * ease(t))
            picture = warp_layer(scene.subject, matrix).over(picture)
    return scene.subject.over(picture)


@SHAPE.effect("shrinks to a tiny size", size=Range(0.15, 0.3))
def shrink(scene: Scene, t: float, *, size: float) -> Image:
    return subject_moved(scene, scene.feet, scale=1 - (1 - size) * ease(t))


@SHAPE.effect("grows into a giant", size=Range(2.0, 2.8))
def grow(scene: Scene, t: float, *, size: float) -> Image:
    return subject_moved(scene, scene.feet, scale=1 + (size - 1) * ease(t))


@SHAPE.effect("is squashed flat", height=Range(0.12, 0.25))
def flatten(scene: Scene, t: float, *, height: float) -> Image:
    press = ease(min(t / 0.55, 1))
    tall = 1 - (1 - height) * ramp(press, 0.3, 1.0)
    picture = subject_moved(scene, scene.feet, scale=(1 + 0.9 * (1 - tall), tall))
    top = scene.feet[1] - 2 * scene.extent[1] * height
    lift = max(0.0, (t - 0.7) / 0.3)
    bottom = -2 + (top + 2) * press - (top + 0.1 * scene.height) * ease(lift)
    slab = Canvas(scene.height, scene.width)
    reach = 1.7 * scene.extent[0]
    left, right = scene.centre[0] - reach, scene.centre[0] + reach
    sides = [(left, -9.0), (right, -9.0), (right, bottom), (left, bottom)]
    slab.polygon(sides, shade(rgb("grey"), -0.4))
    lip = bottom - 0.05 * scene.height
    slab.polygon([(left, lip), (right, lip), (right, bottom), (left, bottom)], rgb("yellow"))
    return slab.layer().over(picture)


@SHAPE.effect("stretches until it is long and thin", axis=Choice(("up", "sideways")))
def stretch(scene: Scene, t: float, *, axis: str) -> Image:
    long, thin = 1 + 1.3 * ease(t), 1 - 0.6 * ease(t)
    if axis == "up":
        return subject_moved(scene, scene.feet, scale=(thin, long))
    return subject_moved(scene, scene.centre, scale=(long, thin))


@SHAPE.effect("is sucked into a swirl", turns=Range(0.8, 1.4, signed=True))
def swirl_away(scene: Scene, t: float, *, turns: float) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    size = max(1 - 1.02 * accelerate(t), 1e-2)
    across, down = (x - scene.centre[0]) / size, (y - scene.centre[1]) / size
    far = np.hypot(across, down) / scene.radius
    angle = 2 * np.pi * turns * t * np.clip(1.5 - far, 0, 1.5)
    source_x = scene.centre[0] + across * np.cos(angle) - down * np.sin(angle)
    source_y = scene.centre[1] + across * np.sin(angle) + down * np.cos(angle)
    layer = remap_layer(scene.subject, source_x, source_y)
    return layer.fade(1 - ramp(t, 0.9, 1.0)).over(scene.background)


@SHAPE.effect("is cut into slices that slide apart", slices=Range(4, 7))
def slice_apart(scene: Scene, t: float, *, slices: float) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    tall = 2 * scene.extent[1] / round(slices)
    band = np.floor((y - scene.centre[1] + scene.extent[1]) / tall)
    shift = np.where(band % 2 == 0, 1, -1) * 1.1 * scene.extent[0] * ease(t)
    return remap_layer(scene.subject, x - shift, y).over(scene.background)


@SHAPE.effect("crumbles to a heap of sand", pattern=PATTERN)
def crumble(scene: Scene, t: float, *, pattern: str) -> Image:
    grain = smooth_noise(scene.height, scene.width, 26, int(pattern))[..., None]
    order = 0.8 * across_subject(scene, "down") + 0.2 * grain
    sand = np.array([0.85, 0.7, 0.45], np.float32)
    dry = ramp(1.35 * t - order, -0.1, 0.12)
    layer = scene.subject.paint(sand * (0.6 + 0.6 * grain), dry)
    picture = layer.fade(1 - ramp(1.35 * t - order, 0.1, 0.22)).over(scene.background)
    canvas = Canvas(scene.height, scene.width)
    foot_x, foot_y = scene.feet
    heap = 0.62 * scene.extent[1] * ease(t)
    wide = 1.25 * scene.extent[0] * brake(t)
    if t > 0:
        canvas.polygon(
            [(foot_x - wide, foot_y), (foot_x, foot_y - heap), (foot_x + wide, foot_y)], sand
        )
    for start_x, phase, tone in draws(60, 3, int(pattern)):
        begin = 0.75 * float(phase)
        fallen = (t - begin) / 0.25
        if not 0 < fallen < 1:
            continue
        top = scene.centre[1] - scene.extent[1] * (1 - 2 * begin)
        drop = top + (foot_y - top) * accelerate(fallen)
        side = foot_x + (2 * float(start_x) - 1) * 0.8 * scene.extent[0]
        canvas.disc(side, drop, 0.016 * scene.height, sand * (0.6 + 0.5 * float(tone)))
    return canvas.layer().over(picture)


@SHAPE.effect("splits into two halves", axis=Choice(("sideways", "up and down")))
def split_in_two(scene: Scene, t: float, *, axis: str) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    across = (x - scene.centre[0]) if axis == "sideways" else (y - scene.centre[1])
    picture = scene.background
    for side in (-1, 1):
        half = np.clip(side * across + 0.5, 0, 1)[..., None]
        near = (1 - ramp(np.abs(across), 0.0, 0.05 * scene.height))[..., None] * min(6 * t, 1)
        piece = scene.subject.paint(np.ones(3, np.float32), 0.9 * near).fade(half)
        gap = side * 0.45 * scene.height * ease(t)
        shift = (gap, 0.0) if axis == "sideways" else (0.0, 0.7 * gap)
        tilt = side * 18 * ease(t) if axis == "sideways" else 0.0
        picture = warp_layer(piece, moved(scene.centre, shift=shift, degrees=tilt)).over(picture)
    return picture


@SHAPE.effect("sinks into a hole in the ground", turns=Range(0.0, 0.5, signed=True))
def sink(scene: Scene, t: float, *, turns: float) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    foot_x, foot_y = scene.feet
    opened = ramp(t, 0.0, 0.2) * (1 - ramp(t, 0.85, 1.0))
    wide, tall = 1.25 * scene.extent[0] * opened, 0.3 * scene.extent[0] * opened
    reach = np.hypot((x - foot_x) / max(wide, 1e-3), (y - foot_y) / max(tall, 1e-3))
    hole = (1 - ramp(reach, 0.9, 1.05))[..., None]
    picture = scene.background * (1 - hole) + np.array([0.04, 0.02, 0.06], np.float32) * hole
    drop = 2.3 * scene.extent[1] * ease(ramp(t, 0.12, 0.85))
    lean = 30 * turns * wave(t)
    layer = warp_layer(scene.subject, moved(scene.feet, shift=(0, drop), degrees=lean))
    above = np.where(y <= foot_y, 1.0, hole[..., 0]).astype(np.float32)[..., None]
    return layer.fade(above * (1 - ramp(t, 0.88, 0.95))).over(picture)


@SHAPE.effect(
    "is drawn into a glowing portal", colour=Choice(("orange", "green", "blue", "purple"))
)
def portal(scene: Scene, t: float, *, colour: str) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    opened = scene.radius * 1.25 * ramp(t, 0.0, 0.35) * (1 - ramp(t, 0.8, 1.0))
    distance = np.hypot(x - scene.centre[0], y - scene.centre[1])
    inside = (1 - ramp(distance, 0.85 * opened, opened + 0.5))[..., None] * min(8 * t, 1)
    angle = np.arctan2(y - scene.centre[1], x - scene.centre[0])
    whirl = 0.5 + 0.5 * np.sin(3 * angle + distance / scene.radius * 6 + 14 * t)
    deep = rgb(colour) * (0.12 + 0.3 * whirl[..., None])
    ring = np.exp(-(((distance - opened) / (0.045 * scene.height)) ** 2))[..., None]
    ring = ring * min(8 * t, 1) * ramp(opened / scene.radius, 0.0, 0.3)
    picture = scene.background * (1 - inside) + deep * inside
    picture = picture * (1 - ring) + shade(rgb(colour), 0.5) * ring
    gone = ramp(t, 0.3, 0.85)
    matrix = moved(scene.centre, scale=max(1 - gone, 1e-3), degrees=400 * gone)
    return warp_layer(scene.subject, matrix).over(picture.astype(np.float32))
