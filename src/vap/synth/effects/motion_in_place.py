"""Motion, part one: the subject stays where it is and moves itself."""

from __future__ import annotations

import math

import numpy as np

from vap.synth.condition import Catalogue, Choice, Range
from vap.synth.curves import accelerate, ease, ramp, sign, wave
from vap.synth.effects.views import subject_moved
from vap.synth.fields import draws
from vap.synth.scene import Image, Scene
from vap.synth.warp import moved, pixel_grid, remap_layer, remap_picture, warp_layer, warp_picture

IN_PLACE = Catalogue("motion")
_SIDE = Choice(("left", "right"))
_EDGE_ON = 0.03  # thinnest view of a card, so that its matrix stays invertible


@IN_PLACE.effect("jumps up and down", hops=Choice(("1", "2", "3")), height=Range(0.2, 0.35))
def jump(scene: Scene, t: float, *, hops: str, height: float) -> Image:
    hop = abs(wave(t * int(hops) / 2))
    crouch = 0.18 * max(0.0, 1 - 4 * hop) * ramp(t, 0.0, 0.08) * (1 - ramp(t, 0.95, 1.0))
    return subject_moved(
        scene,
        scene.feet,
        shift=(0.0, -height * scene.height * hop),
        scale=(1 - 0.12 * hop + crouch, 1 + 0.12 * hop - crouch),
    )


@IN_PLACE.effect("spins around like a wheel", turns=Range(0.75, 2.0, signed=True))
def spin(scene: Scene, t: float, *, turns: float) -> Image:
    return subject_moved(scene, scene.centre, degrees=360 * turns * ease(t))


@IN_PLACE.effect(
    "sways from side to side", degrees=Range(20, 32, signed=True), swings=Range(1, 2.5)
)
def sway(scene: Scene, t: float, *, degrees: float, swings: float) -> Image:
    return subject_moved(scene, scene.feet, degrees=degrees * wave(t * swings))


@IN_PLACE.effect("wobbles like jelly", waves=Range(1.0, 2.0), speed=Range(2, 4))
def wobble(scene: Scene, t: float, *, waves: float, speed: float) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    up = np.clip((scene.feet[1] - y) / (2 * scene.extent[1]), 0, 1.2)
    bend = 0.45 * scene.extent[0] * ramp(t, 0, 0.2) * up**0.6
    source_x = x + bend * np.sin(2 * np.pi * (up * waves - t * speed))
    return remap_layer(scene.subject, source_x, y).over(scene.background)


@IN_PLACE.effect("swings like a pendulum", degrees=Range(25, 40, signed=True), swings=Range(1, 2))
def swing(scene: Scene, t: float, *, degrees: float, swings: float) -> Image:
    pivot = (scene.centre[0], scene.centre[1] - 1.1 * scene.height)
    return subject_moved(scene, pivot, degrees=degrees * wave(t * swings))


@IN_PLACE.effect("shivers", strength=Range(0.035, 0.06))
def shiver(scene: Scene, t: float, *, strength: float) -> Image:
    number = int(t * 32)
    chance = draws(64, 3)[number % 64]
    reach = 2 * strength * scene.height * ramp(t, 0.0, 0.12)
    side = 1 if number // 2 % 2 else -1
    return subject_moved(
        scene,
        scene.centre,
        shift=(side * reach * (0.4 + 0.6 * float(chance[0])), reach * (float(chance[1]) - 0.5)),
        degrees=side * 6 * float(chance[2]) * ramp(t, 0.0, 0.12),
    )


@IN_PLACE.effect(
    "pulses like a beating heart", size=Range(1.25, 1.45), beats=Choice(("2", "3", "4"))
)
def pulse(scene: Scene, t: float, *, size: float, beats: str) -> Image:
    beat = 0.5 - 0.5 * np.cos(2 * np.pi * int(beats) * t)
    return subject_moved(scene, scene.centre, scale=1 + (size - 1) * float(beat))


@IN_PLACE.effect(
    "flips around like a turning card", turns=Choice(("1", "2")), axis=Choice(("upright", "level"))
)
def flip_card(scene: Scene, t: float, *, turns: str, axis: str) -> Image:
    width = float(np.cos(2 * np.pi * int(turns) * ease(t)))
    width = math.copysign(max(abs(width), _EDGE_ON), width)
    scale = (width, 1.0) if axis == "upright" else (1.0, width)
    return subject_moved(scene, scene.centre, scale=scale)


@IN_PLACE.effect("turns a somersault", side=_SIDE, height=Range(0.2, 0.35))
def somersault(scene: Scene, t: float, *, side: str, height: float) -> Image:
    air = ramp(t, 0.15, 0.85)
    lift = 4 * air * (1 - air) * height * scene.height
    crouch = 0.25 * wave(min(t / 0.15, 1) / 2) + 0.2 * wave(max(t - 0.85, 0) / 0.3)
    if 0 < air < 1:
        turn = sign(side) * 360 * air
        return subject_moved(scene, scene.centre, degrees=turn, shift=(0.0, -lift))
    return subject_moved(scene, scene.feet, scale=(1 + crouch, 1 - crouch))


@IN_PLACE.effect("falls over", side=_SIDE)
def fall_over(scene: Scene, t: float, *, side: str) -> Image:
    down = accelerate(min(t / 0.7, 1))
    rebound = 0.1 * abs(wave(max(t - 0.7, 0.0) / 0.3 / 2))
    angle = sign(side) * 90 * (down - rebound)
    slide = -0.35 * sign(side) * scene.extent[1] * down
    return subject_moved(
        scene, scene.feet, degrees=angle, shift=(slide, -0.75 * scene.extent[0] * down)
    )


@IN_PLACE.effect("bounces like a spring", beats=Choice(("2", "3", "4")), strength=Range(0.3, 0.45))
def spring(scene: Scene, t: float, *, beats: str, strength: float) -> Image:
    amount = strength * wave(t * int(beats))
    return subject_moved(scene, scene.feet, scale=(1 + 0.8 * amount, 1 - amount))


@IN_PLACE.effect("dances, leaning left and right", beats=Range(1.5, 3), lean=Range(0.45, 0.7))
def dance(scene: Scene, t: float, *, beats: float, lean: float) -> Image:
    beat = wave(t * beats)
    dip = 0.16 * abs(wave(2 * t * beats))
    return subject_moved(scene, scene.feet, shear=lean * beat, scale=(1.0, 1 - dip))


@IN_PLACE.effect("flutters like a flag", speed=Range(1.5, 3), side=_SIDE)
def flag_wave(scene: Scene, t: float, *, speed: float, side: str) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    along = (x - scene.centre[0]) / (2 * scene.extent[0]) * sign(side) + 0.5
    loose = np.clip(along, 0, 1.2) * ramp(t, 0.0, 0.2)
    phase = 2 * np.pi * (1.3 * along - speed * t)
    lift = 0.17 * scene.height * loose * np.sin(phase)
    return remap_layer(scene.subject, x, y + lift).over(scene.background)


@IN_PLACE.effect("hides below the picture and peeks out again", peeks=Choice(("1", "2")))
def hide_and_peek(scene: Scene, t: float, *, peeks: str) -> Image:
    down = 0.5 - 0.5 * np.cos(2 * np.pi * int(peeks) * t)
    depth = (scene.height - scene.centre[1] + 1.1 * scene.extent[1]) * float(down)
    return subject_moved(scene, scene.centre, shift=(0.0, depth))


@IN_PLACE.effect("sends ripples through everything behind it", length=Range(0.16, 0.28))
def ripple(scene: Scene, t: float, *, length: float) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    away_x, away_y = x - scene.centre[0], y - scene.centre[1]
    far = np.hypot(away_x, away_y) + 1e-3
    front = ramp(t * 2.4 - far / scene.height, 0.0, 0.3)
    wave_at = np.sin(2 * np.pi * (far / scene.height / length - 4 * t)) * front
    push = 0.05 * scene.height * wave_at
    behind = remap_picture(scene.background, x + push * away_x / far, y + push * away_y / far)
    light = 1 + 0.3 * wave_at[..., None]
    return scene.subject.over(np.clip(behind * light, 0, 1).astype(np.float32))


@IN_PLACE.effect("runs on the spot while the world rushes past", side=_SIDE, speed=Range(1.2, 2.2))
def rush_past(scene: Scene, t: float, *, side: str, speed: float) -> Image:
    way = -sign(side) * speed * scene.height * (0.35 * t + 0.65 * accelerate(t))
    behind = warp_picture(scene.background, moved(scene.centre, shift=(way, 0.0)))
    lean = 0.22 * sign(side) * ramp(t, 0.0, 0.3)
    bob = -0.06 * scene.height * abs(wave(3.5 * t))
    return warp_layer(scene.subject, moved(scene.feet, shear=lean, shift=(0, bob))).over(behind)
