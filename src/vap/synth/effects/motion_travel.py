"""Motion, part two: the subject travels through the picture."""

from __future__ import annotations

import numpy as np

from vap.synth.canvas import Canvas
from vap.synth.condition import Catalogue, Choice, Range
from vap.synth.curves import DIRECTIONS, accelerate, brake, ease, ramp, sign, wave
from vap.synth.effects.views import subject_moved
from vap.synth.fields import draws
from vap.synth.filters import blur_layer, smear
from vap.synth.palette import rgb, shade
from vap.synth.scene import Image, Layer, Scene
from vap.synth.warp import moved, warp_layer

TRAVEL = Catalogue("motion")
_SIDE = Choice(("left", "right"))


@TRAVEL.effect("walks across the picture", side=_SIDE, steps=Range(2, 4), reach=Range(0.35, 0.6))
def walk_across(scene: Scene, t: float, *, side: str, steps: float, reach: float) -> Image:
    bob = -0.05 * scene.height * abs(wave(t * steps))
    shift = (sign(side) * reach * scene.height * t, bob)
    return subject_moved(scene, scene.feet, shift=shift, degrees=11 * wave(t * steps))


@TRAVEL.effect(
    "circles around in the picture", turns=Range(1, 1.6, signed=True), reach=Range(0.2, 0.28)
)
def orbit(scene: Scene, t: float, *, turns: float, reach: float) -> Image:
    angle = 2 * np.pi * turns * t
    side, depth = np.sin(angle), 0.5 - 0.5 * np.cos(angle)
    shift = (1.7 * reach * scene.height * side, -0.8 * reach * scene.height * depth)
    return subject_moved(scene, scene.feet, shift=shift, scale=1 - 0.5 * float(depth))


@TRAVEL.effect("rolls away along the ground", side=_SIDE, reach=Range(0.5, 0.8))
def roll_away(scene: Scene, t: float, *, side: str, reach: float) -> Image:
    way = sign(side) * reach * scene.height * ease(t)
    return subject_moved(
        scene, scene.centre, shift=(way, 0.0), degrees=np.rad2deg(way / (0.7 * scene.radius))
    )


@TRAVEL.effect(
    "bounces across the picture", side=_SIDE, hops=Choice(("2", "3")), reach=Range(0.45, 0.7)
)
def bounce_across(scene: Scene, t: float, *, side: str, hops: str, reach: float) -> Image:
    hop = abs(wave(t * int(hops) / 2))
    squash = 0.25 * max(0.0, 1 - 3 * hop) * ramp(t, 0.0, 0.1)
    return subject_moved(
        scene,
        scene.feet,
        shift=(sign(side) * reach * scene.height * t, -0.32 * scene.height * hop),
        scale=(1 + squash, 1 - squash),
    )


@TRAVEL.effect("takes off like a rocket", shake=Range(0.01, 0.02))
def take_off(scene: Scene, t: float, *, shake: float) -> Image:
    fired = ramp(t, 0.0, 0.15)
    up = accelerate(ramp(t, 0.25, 1.0)) * 1.5 * scene.height
    jitter = shake * scene.height * fired * (1 if int(t * 32) % 2 else -1)
    layer = warp_layer(scene.subject, moved(scene.centre, shift=(jitter, -up)))
    canvas = Canvas(scene.height, scene.width)
    base = scene.feet[1] - up
    for place, phase, size in draws(40, 3) if t > 0 else ():
        age = (float(phase) + 3 * t) % 1
        x = scene.centre[0] + (float(place) - 0.5) * scene.extent[0] * (0.5 + 1.2 * age)
        y = base + age * 0.45 * scene.height
        heat = np.array([1.0, 0.95 - 0.75 * age, 0.55 - 0.5 * age], np.float32)
        radius = (0.03 + 0.03 * float(size)) * scene.height * fired * (1 - 0.5 * age)
        canvas.disc(x, y, radius, heat)
    fire = blur_layer(canvas.layer(), 0.012 * scene.height)
    return layer.over(fire.over(scene.background))


@TRAVEL.effect("flies in a figure of eight", loops=Range(1, 1.4), reach=Range(0.3, 0.42))
def figure_eight(scene: Scene, t: float, *, loops: float, reach: float) -> Image:
    turn = t * loops
    shift = (reach * scene.height * wave(turn), 0.26 * scene.height * wave(2 * turn))
    degrees = 22 * ramp(t, 0.0, 0.1) * float(np.cos(2 * np.pi * turn))
    scale = 0.8 + 0.2 * (1 - ramp(t, 0, 0.2))
    return subject_moved(scene, scene.centre, shift=shift, scale=scale, degrees=degrees)


@TRAVEL.effect("dashes out of the picture", direction=Choice(tuple(DIRECTIONS)))
def dash_away(scene: Scene, t: float, *, direction: str) -> Image:
    dx, dy = DIRECTIONS[direction]
    back = -0.1 * ramp(t, 0.0, 0.3)
    off = accelerate(ramp(t, 0.3, 0.8))
    size = scene.width if dx else scene.height
    way = (back * scene.height) + 1.3 * size * off
    layer = warp_layer(scene.subject, moved(scene.centre, shift=(dx * way, dy * way)))
    speed = 0.25 * size * ramp(t, 0.3, 0.45)
    rgba = smear(layer.rgba, dx * speed, dy * speed)
    canvas = Canvas(scene.height, scene.width)
    for place, start, size_of in draws(14, 3):
        age = (t - 0.35 - 0.2 * float(start)) / 0.45
        if not 0 < age < 1:
            continue
        x = scene.centre[0] + (float(place) - 0.5) * 1.4 * scene.extent[0] + dx * 0.2 * scene.height
        y = scene.feet[1] - 0.12 * scene.height * age
        puff = (0.05 + 0.04 * float(size_of)) * scene.height * brake(age)
        canvas.disc(x, y, puff * (1 - accelerate(age) * 0.9), shade(rgb("grey"), 0.6))
    return canvas.layer().fade(0.8).over(Layer.of(rgba).over(scene.background))


@TRAVEL.effect("runs towards the camera", size=Range(2.2, 3.2), steps=Range(2, 4))
def run_to_camera(scene: Scene, t: float, *, size: float, steps: float) -> Image:
    zoom = 1 + (size - 1) * accelerate(t)
    shift = (
        (scene.width / 2 - scene.centre[0]) * t + 0.03 * scene.height * zoom * wave(steps * t),
        (0.55 * scene.height - scene.centre[1]) * t - 0.06 * scene.height * abs(wave(steps * t)),
    )
    return subject_moved(scene, scene.centre, scale=zoom, shift=shift, degrees=8 * wave(steps * t))


@TRAVEL.effect("walks away towards the horizon", size=Range(0.15, 0.3), steps=Range(2.5, 4))
def walk_away(scene: Scene, t: float, *, size: float, steps: float) -> Image:
    far = brake(t)
    zoom = 1 - (1 - size) * far
    level = (0.42 * scene.height - scene.feet[1]) * far
    shift = (
        (scene.width / 2 - scene.centre[0]) * far,
        level - 0.04 * scene.height * zoom * abs(wave(steps * t)),
    )
    return subject_moved(scene, scene.feet, scale=zoom, shift=shift, degrees=12 * wave(steps * t))
