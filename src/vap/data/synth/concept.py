"""Concept: something happens to, or becomes of, the subject."""

from __future__ import annotations

import numpy as np

from vap.data.synth.curves import DIRECTIONS, ease, ramp
from vap.data.synth.fields import smooth_noise
from vap.data.synth.opencv import cv2
from vap.data.synth.scene import Image, Layer, Scene
from vap.data.synth.schema import Catalogue, Choice, Range
from vap.data.synth.warp import moved, pixel_grid, remap_layer, warp_layer

CONCEPT = Catalogue("concept")


@CONCEPT.effect("turns to solid gold", direction=Choice(tuple(DIRECTIONS)))
def turn_to_gold(scene: Scene, t: float, *, direction: str) -> Image:
    """A golden sheen sweeps over the subject."""
    luminance = scene.colour.mean(axis=2, keepdims=True)
    gold = np.array([1.0, 0.78, 0.22], np.float32) * (0.35 + 0.9 * luminance)
    gold = gold + 0.5 * ramp(luminance, 0.6, 0.95)
    front = sweep(scene, direction)[..., None]
    reached = ramp(t * 1.3 - front, 0.0, 0.25)
    return scene.subject.paint(np.clip(gold, 0, 1), reached).over(scene.background)


def sweep(scene: Scene, direction: str) -> Image:
    """How far along the subject's box a front travelling in a direction meets each pixel, 0 to 1."""
    x, y = pixel_grid(scene.height, scene.width)
    dx, dy = DIRECTIONS[direction]
    along = (x - scene.centre[0]) * dx + (y - scene.centre[1]) * dy
    return np.clip(along / (2 * scene.radius) + 0.5, 0, 1)


@CONCEPT.effect("inflates like a balloon and floats away", size=Range(1.3, 1.6))
def inflate_and_float(scene: Scene, t: float, *, size: float) -> Image:
    """Grow, then rise out of the picture."""
    rise = max(0.0, t - 0.35) / 0.65
    matrix = moved(
        scene.centre,
        scale=1 + (size - 1) * ease(min(t / 0.5, 1)),
        shift=(0.0, -1.3 * scene.height * rise * rise),
        degrees=6 * np.sin(t * 9),
    )
    return warp_layer(scene.subject, matrix).over(scene.background)


@CONCEPT.effect("melts into a puddle", drips=Range(3, 6))
def melt(scene: Scene, t: float, *, drips: float) -> Image:
    """Sink and run down in drips."""
    x, y = pixel_grid(scene.height, scene.width)
    foot = scene.feet[1]
    share = ease(t)
    height_left = 1 - 0.8 * share
    spread = 1 + 0.5 * share
    wave = 0.06 * scene.height * share * np.sin((x - scene.centre[0]) / scene.radius * drips * 2)
    source_y = foot - (foot - y + wave) / height_left
    source_x = scene.centre[0] + (x - scene.centre[0]) / spread
    return remap_layer(scene.subject, source_x, source_y).over(scene.background)


@CONCEPT.effect("dissolves into nothing", pattern=Range(0, 4))
def dissolve(scene: Scene, t: float, *, pattern: float) -> Image:
    """Holes with glowing rims eat the subject up."""
    noise = smooth_noise(scene.height, scene.width, 8, int(pattern))[..., None]
    left = ramp(noise - t * 1.25, -0.2, -0.08)
    rim = left * (1 - ramp(noise - t * 1.25, -0.08, 0.1)) if t > 0 else 0 * left
    ember = np.array([1.0, 0.6, 0.1], np.float32)
    return scene.subject.paint(ember, rim).fade(left).over(scene.background)


@CONCEPT.effect("turns into coarse pixels", blocks=Range(4, 6))
def pixelate(scene: Scene, t: float, *, blocks: float) -> Image:
    """Ever larger square pixels."""
    side = 1 + (2 * scene.radius / blocks - 1) * t
    size = (max(2, round(scene.width / side)), max(2, round(scene.height / side)))
    lib = cv2()
    rgba = np.concatenate([scene.subject.rgb, scene.subject.alpha], axis=2)
    small = lib.resize(rgba, size, interpolation=lib.INTER_AREA)
    big = lib.resize(small, (scene.width, scene.height), interpolation=lib.INTER_NEAREST)
    return Layer(big[..., :3], big[..., 3:]).over(scene.background)
