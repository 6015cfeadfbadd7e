"""Style, part two: the whole picture is drawn or printed."""

from __future__ import annotations

import numpy as np

from vap.synth.canvas import Canvas
from vap.synth.condition import PATTERN, Catalogue, Choice, Range
from vap.synth.curves import ramp
from vap.synth.effects.arrival import gradient, still
from vap.synth.fields import cells, draws, smooth_noise
from vap.synth.filters import blur, edges, luminance, mixed, saturate, slopes
from vap.synth.opencv import cv2
from vap.synth.palette import rgb
from vap.synth.scene import Image, Scene
from vap.synth.warp import pixel_grid, remap_picture

DRAWING = Catalogue("style")
_STROKES = 700


def _cells_of(picture: Image, x: Image, y: Image) -> Image:
    """The slightly blurred picture fetched at one point for each cell ``[H, W]``."""
    return remap_picture(blur(picture, 0.015 * picture.shape[0]), x, y)


@still(DRAWING, "turns into a pencil sketch")
def pencil_sketch(scene: Scene) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    grey = luminance(scene.image)[..., 0]
    hatch = 0.5 + 0.5 * np.sin((x + y) / scene.height * 110)
    shadow = ramp(0.55 - grey, 0.0, 0.35) * (0.15 + 0.3 * hatch)
    line = ramp(edges(scene.image, 0.008 * scene.height)[..., 0], 0.1, 0.65)
    paper = 0.97 - 0.06 * smooth_noise(scene.height, scene.width, 40)
    drawn = np.clip(paper - shadow - 0.8 * line, 0.08, 1)
    return np.repeat(drawn[..., None], 3, axis=2)


@still(DRAWING, "turns into a poster of few flat colours", levels=Choice(("2", "3")))
def posterise(scene: Scene, *, levels: str) -> Image:
    steps = int(levels)
    smooth = saturate(blur(scene.image, 0.012 * scene.height), 1.8)
    flat = np.floor(np.clip(smooth, 0, 0.999) * steps) / (steps - 1)
    return flat.astype(np.float32)


@still(DRAWING, "turns into pop art with printed dots", ink=Choice(("blue", "red")))
def pop_art(scene: Scene, *, ink: str) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    pitch = 0.075 * scene.height
    across, down = (x + y) / pitch / 1.414, (x - y) / pitch / 1.414
    grey = blur(luminance(scene.image), 0.02 * scene.height)[..., 0]
    low, high = np.percentile(grey, (3, 97))
    radius = 0.64 * np.sqrt(np.clip((high - grey) / max(high - low, 0.05), 0, 1))
    away = np.hypot(across - np.round(across), down - np.round(down))
    dots = np.clip((radius - away) * pitch + 0.5, 0, 1)[..., None]
    papers = ("yellow", "pink") if ink == "blue" else ("white", "yellow")
    paper = scene.subject.alpha * rgb(papers[1]) + (1 - scene.subject.alpha) * rgb(papers[0])
    contour = ramp(edges(np.repeat(scene.subject.alpha, 3, axis=2), 0.012 * scene.height), 0.3, 0.8)
    return mixed(paper, rgb(ink), np.maximum(dots, contour))


@still(DRAWING, "turns into a watercolour")
def watercolour(scene: Scene) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    run = 0.06 * scene.height
    bend_x = smooth_noise(scene.height, scene.width, 12, 1) - 0.5
    bend_y = smooth_noise(scene.height, scene.width, 12, 2) - 0.5
    bled = remap_picture(scene.image, x + run * bend_x, y + run * bend_y)
    wash = cv2().bilateralFilter(bled, 5, 0.35, 0.03 * scene.height)
    rim = ramp(edges(wash, 0.012 * scene.height), 0.1, 0.7)
    pool = 0.8 + 0.35 * smooth_noise(scene.height, scene.width, 5, 3)[..., None]
    pale = 1 - (1 - saturate(wash, 1.3)) * 0.62 * pool - 0.22 * rim * (1 - wash)
    x_far = np.minimum(x, scene.width - 1 - x) / scene.height
    y_far = np.minimum(y, scene.height - 1 - y) / scene.height
    ragged = np.minimum(x_far, y_far) + 0.07 * (bend_x + bend_y)
    painted = mixed(np.full_like(pale, 0.97), pale, ramp(ragged, 0.0, 0.05)[..., None])
    return np.clip(painted, 0, 1).astype(np.float32)


@still(DRAWING, "turns into a mosaic of tiles", rows=Range(9, 13))
def mosaic(scene: Scene, *, rows: float) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    side = scene.height / round(rows)
    column, row = np.floor(x / side), np.floor(y / side)
    tone = 0.9 + 0.2 * ((column * 0.618 + row * 0.382) % 1)
    stones = _cells_of(scene.image, (column + 0.5) * side, (row + 0.5) * side) * tone[..., None]
    in_x, in_y = x - column * side, y - row * side
    bevel = 1 + 0.25 * (0.5 - (in_x + in_y) / (2 * side))
    rim = np.minimum(np.minimum(in_x, side - 1 - in_x), np.minimum(in_y, side - 1 - in_y))
    joint = ramp(rim, -0.6, 0.06 * side + 0.4)[..., None]
    laid = mixed(np.full_like(stones, 0.22), stones * bevel[..., None], joint)
    return np.clip(laid, 0, 1).astype(np.float32)


@still(DRAWING, "turns into a blueprint")
def blueprint(scene: Scene) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    pitch = scene.height / 8
    grid = np.maximum(np.cos(x / pitch * 2 * np.pi), np.cos(y / pitch * 2 * np.pi))
    line = ramp(edges(scene.image, 0.008 * scene.height), 0.08, 0.5)
    paper = np.array([0.07, 0.22, 0.55], np.float32) + 0.14 * ramp(grid, 0.85, 1.0)[..., None]
    return mixed(paper, 0.96, line).astype(np.float32)


@still(DRAWING, "turns into a comic with ink lines")
def comic(scene: Scene) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    smooth = cv2().bilateralFilter(scene.image, 5, 0.3, 0.03 * scene.height)
    flat = saturate(np.round(smooth * 4) / 4, 2.0)
    line = ramp(edges(smooth, 0.014 * scene.height), 0.12, 0.35)
    pitch = 0.05 * scene.height
    dots = np.cos(x / pitch * 2 * np.pi) * np.cos(y / pitch * 2 * np.pi)
    shade_of = ramp(0.5 - luminance(smooth), 0.0, 0.25) * ramp(dots, 0.1, 0.5)[..., None]
    inked = (1 - 0.55 * shade_of) * (flat * 0.9 + 0.1) * (1 - line)
    return inked.astype(np.float32)


@still(DRAWING, "turns into a stained-glass window", pattern=PATTERN)
def stained_glass(scene: Scene, *, pattern: str) -> Image:
    numbers, border, centres = cells(scene.height, scene.width, 9, int(pattern))
    middle = centres[numbers.astype(int)]
    panes = saturate(_cells_of(scene.image, middle[..., 0], middle[..., 1]), 1.9)
    panes = np.clip(panes * (1.0 + 0.25 * np.tanh(border / (0.03 * scene.height)))[..., None], 0, 1)
    lead = ramp(border, 0.006 * scene.height, 0.024 * scene.height)[..., None]
    contour = 1 - ramp(edges(scene.subject.alpha.repeat(3, axis=2), 0.01 * scene.height), 0.3, 0.8)
    return (panes * lead * contour).astype(np.float32)


@still(DRAWING, "turns into an oil painting", pattern=PATTERN)
def oil_paint(scene: Scene, *, pattern: str) -> Image:
    height, width = scene.height, scene.width
    source = saturate(blur(scene.image, 0.02 * height), 1.4)
    flow = 2.5 * smooth_noise(height, width, 2, int(pattern))
    canvas = Canvas(height, width)
    for across, down, tone, turn in draws(_STROKES, 4, int(pattern)):
        x, y = float(across) * (width - 1), float(down) * (height - 1)
        place = round(y), round(x)
        angle = float(flow[place]) + 0.6 * float(turn)
        reach_x, reach_y = 0.055 * height * np.cos(angle), 0.055 * height * np.sin(angle)
        paint = source[place] * (0.8 + 0.4 * float(tone))
        stroke = [(x - reach_x, y - reach_y), (x + reach_x, y + reach_y)]
        canvas.line(stroke, 0.05 * height, paint)
    painted = canvas.layer().over(source)
    slope_x, slope_y = slopes(luminance(painted)[..., 0])
    relief = 0.012 * height * np.clip(slope_x + slope_y, -0.3, 0.3)
    return np.clip(painted + relief[..., None], 0, 1)


@still(DRAWING, "turns into cross-stitch embroidery")
def cross_stitch(scene: Scene) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    side = scene.height / 13
    column, row = np.floor(x / side), np.floor(y / side)
    yarn = saturate(_cells_of(scene.image, (column + 0.5) * side, (row + 0.5) * side), 1.3)
    in_x, in_y = (x + 0.5) / side - column - 0.5, (y + 0.5) / side - row - 0.5
    near = np.minimum(np.abs(in_x - in_y), np.abs(in_x + in_y))
    thread = (1 - ramp(near, 0.14, 0.34))[..., None]
    light = 0.75 + 0.5 * (1 - ramp(np.abs(in_x - in_y), 0.0, 0.3))[..., None]
    cloth = np.array([0.13, 0.11, 0.12], np.float32)
    sewn = mixed(np.broadcast_to(cloth, yarn.shape), np.clip(yarn * light, 0, 1), thread)
    return sewn.astype(np.float32)


@still(DRAWING, "is embossed in metal", metal=Choice(("silver", "copper")))
def emboss(scene: Scene, *, metal: str) -> Image:
    grey = blur(luminance(scene.image), 0.008 * scene.height)[..., 0]
    slope_x, slope_y = slopes(grey)
    light = np.clip(0.5 + (slope_x + slope_y) * 0.028 * scene.height, 0, 1)[..., None]
    silver = [(0.1, 0.11, 0.13), (0.56, 0.58, 0.61), (1.0, 1.0, 1.0)]
    copper = [(0.16, 0.05, 0.02), (0.72, 0.42, 0.26), (1.0, 0.9, 0.75)]
    return gradient(light, silver if metal == "silver" else copper)
