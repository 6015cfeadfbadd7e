"""Concept, matter: the subject keeps its shape and becomes something else."""

from __future__ import annotations

import numpy as np

from vap.synth.condition import PATTERN, Catalogue, Choice, Range
from vap.synth.curves import DIRECTIONS, ease, ramp, wave
from vap.synth.effects.arrival import across_subject, reached
from vap.synth.fields import cells, draws, smooth_noise
from vap.synth.filters import blur, edges, grow_mask, hue_wheel, luminance, mixed, slopes
from vap.synth.opencv import cv2
from vap.synth.palette import rgb, shade
from vap.synth.scene import Image, Layer, Scene
from vap.synth.warp import moved, pixel_grid, remap_layer, remap_picture, warp_layer

MATTER = Catalogue("concept")
_DIRECTION = Choice(tuple(DIRECTIONS))
_GLOW = Choice(("red", "orange", "green", "teal", "blue", "purple", "pink"))


def _relief(scene: Scene) -> tuple[Image, Image]:
    """Slopes along x and y ``[H, W]`` of the subject taken for a rounded solid, about -1 to 1."""
    width = scene.radius / 3
    height = blur(scene.subject.alpha, width)[..., 0]
    slope_x, slope_y = slopes(height)
    return slope_x * width * 2.5, slope_y * width * 2.5


@MATTER.effect("turns to solid gold", direction=_DIRECTION)
def turn_to_gold(scene: Scene, t: float, *, direction: str) -> Image:
    grey = luminance(scene.colour)
    gold = np.array([1.0, 0.76, 0.15], np.float32) * (0.35 + 0.85 * grey) + 0.45 * ramp(
        grey, 0.65, 0.95
    )
    order = across_subject(scene, direction)
    glint = np.exp(-(((order - 1.6 * t + 0.25) / 0.08) ** 2))
    return scene.subject.paint(np.clip(gold + glint, 0, 1), reached(order, t)).over(
        scene.background
    )


@MATTER.effect("turns to stone", direction=_DIRECTION, pattern=PATTERN)
def turn_to_stone(scene: Scene, t: float, *, direction: str, pattern: str) -> Image:
    stone = scene.once(("stone", pattern), lambda: _stone(scene, int(pattern)))
    share = reached(across_subject(scene, direction), t)
    return scene.subject.paint(stone, share).over(scene.background)


def _stone(scene: Scene, pattern: int) -> Image:
    """What the subject looks like as stone ``[H, W, 3]``."""
    _, border, _ = cells(scene.height, scene.width, 7, pattern)
    grain = smooth_noise(scene.height, scene.width, 30, pattern)[..., None]
    crack = ramp(border, 0.0, 0.018 * scene.height)[..., None]
    grey = (0.2 + 0.5 * luminance(scene.colour)) * (0.7 + 0.6 * grain) * (0.35 + 0.65 * crack)
    return np.clip(grey * np.array([0.98, 1.0, 1.0], np.float32), 0, 1)


@MATTER.effect("freezes to ice", pattern=PATTERN)
def freeze(scene: Scene, t: float, *, pattern: str) -> Image:
    ice, frost = scene.once(("ice", pattern), lambda: _ice(scene, int(pattern)))
    share = reached(across_subject(scene, "up"), t)
    return scene.subject.paint(ice, share).over(frost.fade(share).over(scene.background))


def _ice(scene: Scene, pattern: int) -> tuple[Image, Layer]:
    """What the subject looks like as ice ``[H, W, 3]``, and the frost around it."""
    facets, border, _ = cells(scene.height, scene.width, 9, pattern)
    tone = 0.75 + 0.5 * ((facets * 0.618) % 1)[..., None]
    ice = np.array([0.45, 0.78, 1.0], np.float32) * (0.45 + 0.55 * luminance(scene.colour)) * tone
    ice = ice + 0.6 * (1 - ramp(border, 0.0, 0.015 * scene.height))[..., None]
    rim = grow_mask(scene.subject.alpha, 0.03 * scene.height)
    return np.clip(ice, 0, 1), Layer(rim * np.array([0.9, 0.97, 1], np.float32), rim)


@MATTER.effect("turns to clear glass", bend=Range(0.1, 0.2, signed=True))
def turn_to_glass(scene: Scene, t: float, *, bend: float) -> Image:
    glass = scene.once(("glass", bend), lambda: _glass(scene, 2 * bend * scene.height))
    return scene.subject.paint(glass, ease(t)).over(scene.background)


def _glass(scene: Scene, reach: float) -> Image:
    """The background seen through the subject ``[H, W, 3]``, bent by up to ``reach`` pixels."""
    x, y = pixel_grid(scene.height, scene.width)
    slope_x, slope_y = _relief(scene)
    behind = remap_picture(scene.background, x + slope_x * reach, y + slope_y * reach)
    light = ramp(slope_x + slope_y, 0.25, 0.8)[..., None]
    rim = ramp(np.hypot(slope_x, slope_y), 0.35, 0.9)[..., None]
    tint = np.array([0.92, 1.0, 0.98], np.float32)
    return np.clip(behind * (1 - 0.35 * rim) * tint + 0.7 * light, 0, 1)


@MATTER.effect("turns to polished chrome", direction=_DIRECTION)
def turn_to_chrome(scene: Scene, t: float, *, direction: str) -> Image:
    chrome = scene.once("chrome", lambda: _chrome(scene))
    share = reached(across_subject(scene, direction), t)
    return scene.subject.paint(chrome, share).over(scene.background)


def _chrome(scene: Scene) -> Image:
    """Reflections on the subject taken for a rounded solid ``[H, W, 3]``."""
    slope_x, slope_y = _relief(scene)
    detail = blur(luminance(scene.colour), 0.01 * scene.height)[..., 0] - 0.5
    facing = (-slope_y + 0.3 * slope_x + 0.5 * detail)[..., None]
    sky = 0.95 - 0.6 * ramp(facing, -0.05, 0.6)
    ground = 0.12 + 0.75 * ramp(-facing, 0.0, 0.6)
    mirror = mixed(ground, sky, ramp(facing, -0.03, 0.03))
    return mirror * np.array([0.9, 0.97, 1.0], np.float32)


@MATTER.effect("glows in rainbow colours", direction=_DIRECTION, bands=Range(0.6, 1.4))
def rainbow(scene: Scene, t: float, *, direction: str, bands: float) -> Image:
    hues = hue_wheel(across_subject(scene, direction)[..., 0] * bands - 1.5 * t)
    lit = hues * (0.4 + 0.75 * luminance(scene.colour))
    return scene.subject.paint(np.clip(lit, 0, 1), ease(min(2 * t, 1))).over(scene.background)


@MATTER.effect("turns into a flickering hologram", colour=Choice(("teal", "blue", "pink", "green")))
def hologram(scene: Scene, t: float, *, colour: str) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    amount = ease(min(1.5 * t, 1))
    line = 0.04 * scene.height
    scan = (0.75 + 0.25 * np.sin((y / line - 6 * t) * np.pi))[..., None]
    light = shade(rgb(colour), 0.45) * (0.5 + 0.8 * luminance(scene.colour)) * scan
    rows = np.floor(y / (0.09 * scene.height)).astype(int)
    tear = draws(40, 1, int(t * 12))[rows % 40, 0]
    shift = np.clip(tear - 0.8, 0, None) * 0.9 * scene.height * amount
    layer = scene.subject.paint(np.clip(light * 1.25, 0, 1), amount).fade(1 - 0.3 * amount)
    return remap_layer(layer, x + shift, y).over(scene.background)


@MATTER.effect("becomes a black silhouette with a glowing rim", colour=_GLOW)
def silhouette(scene: Scene, t: float, *, colour: str) -> Image:
    halo = np.clip(2 * blur(scene.subject.alpha, 0.07 * scene.height), 0, 1) * ease(t)
    behind = mixed(scene.background, np.broadcast_to(shade(rgb(colour), 0.35), (3,)), halo)
    return scene.subject.paint(np.zeros(3, np.float32), 0.95 * ease(t)).over(behind)


@MATTER.effect("becomes a pale spirit that drifts upwards", rise=Range(0.15, 0.3))
def spirit(scene: Scene, t: float, *, rise: float) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    wavy = 0.05 * scene.height * ease(t) * np.sin(y / scene.height * 18 - 9 * t)
    lower = np.clip((y - scene.centre[1]) / scene.extent[1] + 0.4, 0, 1.4)
    layer = warp_layer(scene.subject, moved(scene.centre, shift=(0, -rise * scene.height * t)))
    layer = remap_layer(layer, x + wavy * lower, y)
    pale = np.array([0.85, 0.93, 1.0], np.float32) * (0.6 + 0.4 * luminance(layer.rgb))
    trail = (1 - 0.75 * ease(t) * np.clip(lower, 0, 1))[..., None]
    return (
        layer.paint(pale, 0.9 * ease(t)).fade(trail * (1 - 0.25 * ease(t))).over(scene.background)
    )


@MATTER.effect("turns into a glowing outline", colour=_GLOW)
def outline(scene: Scene, t: float, *, colour: str) -> Image:
    width = 0.014 * scene.height
    inner = edges(scene.subject.over(np.zeros_like(scene.background)), width)
    line = ramp(inner, 0.12, 0.5)
    light = np.clip(line + 0.7 * blur(line, 0.03 * scene.height), 0, 1) * shade(rgb(colour), 0.25)
    shape = np.maximum(scene.subject.alpha, 0.9 * grow_mask(scene.subject.alpha, width + 1))
    drawn = light * shape + 0.04 * shape
    return mixed(scene.image, drawn.astype(np.float32), shape * ease(t))


@MATTER.effect("turns into coarse pixels", blocks=Range(4, 6))
def pixelate(scene: Scene, t: float, *, blocks: float) -> Image:
    side = 1 + (2 * scene.radius / blocks - 1) * ease(t)
    size = (max(2, round(scene.width / side)), max(2, round(scene.height / side)))
    lib = cv2()
    rgba = scene.subject.rgba
    small = lib.resize(rgba, size, interpolation=lib.INTER_AREA)
    big = lib.resize(small, (scene.width, scene.height), interpolation=lib.INTER_NEAREST)
    return Layer.of(big).over(scene.background)


@MATTER.effect("turns into a patchwork of colours", pattern=PATTERN)
def patchwork(scene: Scene, t: float, *, pattern: str) -> Image:
    numbers, border, _ = cells(scene.height, scene.width, 8, int(pattern))
    order = (numbers * 0.618) % 1
    patch = hue_wheel((numbers * 0.382) % 1) * (0.6 + 0.4 * luminance(scene.colour))
    seam = ramp(border, 0.0, 0.02 * scene.height)[..., None]
    shown = (order < 1.05 * t)[..., None] * np.float32(1)
    return scene.subject.paint(patch * (0.25 + 0.75 * seam), shown).over(scene.background)


@MATTER.effect("burns to charcoal", pattern=PATTERN)
def burn(scene: Scene, t: float, *, pattern: str) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    lift = 1.4 * t * scene.height
    noise = remap_picture(smooth_noise(scene.height, scene.width, 7, int(pattern)), x, y + lift)
    near = np.clip(2.2 * blur(scene.subject.alpha, 0.06 * scene.height), 0, 1)[..., 0]
    low = (scene.feet[1] - y) / (2 * scene.extent[1])
    envelope = wave(min(t, 1.0) / 2) ** 0.7 if 0 < t < 1 else 0.0
    heat = near * (0.4 + 0.9 * noise) * envelope * ramp(1.35 - low + 0.4 * noise, 0.0, 0.5)
    flame = np.stack([ramp(heat, 0.3, 0.5), ramp(heat, 0.45, 0.85), ramp(heat, 0.85, 1.2)], axis=2)
    char = scene.colour * 0.08 + 0.03
    order = across_subject(scene, "up")
    burnt = scene.subject.paint(char, reached(order, ramp(t, 0.1, 0.85))).over(scene.background)
    return mixed(burnt, np.clip(flame, 0, 1), flame[..., :1] * 0.95)
