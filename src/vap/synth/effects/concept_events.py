"""Concept, events: something else appears and acts on the subject."""

from __future__ import annotations

import numpy as np

from vap.synth.canvas import Canvas
from vap.synth.condition import PATTERN, Catalogue, Choice, Range
from vap.synth.curves import accelerate, brake, ease, ramp, wave
from vap.synth.effects.arrival import across_subject, reached
from vap.synth.fields import draws, smooth_noise
from vap.synth.filters import blur, blur_layer, hue_wheel, mixed
from vap.synth.palette import rgb, shade
from vap.synth.scene import Image, Layer, Scene
from vap.synth.subjects.pen import rays
from vap.synth.warp import moved, pixel_grid, warp_layer

EVENTS = Catalogue("concept")


@EVENTS.effect("is beamed away in a column of light", colour=Choice(("teal", "yellow", "pink")))
def teleport(scene: Scene, t: float, *, colour: str) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    strength = ramp(t, 0.0, 0.3) * (1 - ramp(t, 0.8, 1.0))
    across = np.abs(x - scene.centre[0]) / scene.extent[0]
    beam = (1 - ramp(across, 0.7, 1.25))[..., None] * strength
    beam = beam * (0.75 + 0.25 * np.sin(y / scene.height * 40 + 30 * t))[..., None]
    light = shade(rgb(colour), 0.45)
    left = 1 - reached(across_subject(scene, "up"), ramp(t, 0.3, 0.8))
    subject = scene.subject.paint(np.ones(3, np.float32), ramp(t, 0.1, 0.5)).fade(left)
    return mixed(subject.over(scene.background), light, 0.7 * np.clip(beam, 0, 1))


@EVENTS.effect("vanishes in a puff of smoke", tone=Choice(("white", "grey", "purple", "green")))
def smoke(scene: Scene, t: float, *, tone: str) -> Image:
    canvas = Canvas(scene.height, scene.width)
    spread = brake(min(t / 0.6, 1))
    for place_x, place_y, size, shadow in draws(26, 4):
        angle, far = 2 * np.pi * float(place_x), np.sqrt(float(place_y))
        reach = scene.radius * (0.2 + 0.95 * spread) * far
        x = scene.centre[0] + reach * np.cos(angle)
        y = scene.centre[1] + reach * np.sin(angle) - 0.3 * scene.height * accelerate(t)
        radius = scene.radius * (0.2 + 0.35 * float(size)) * min(5 * t, 1) * (0.5 + 0.5 * spread)
        canvas.disc(x, y, radius, shade(rgb(tone), 0.45 - 0.45 * float(shadow)))
    cloud = blur_layer(canvas.layer(), 0.025 * scene.height).fade(1 - ramp(t, 0.6, 1.0))
    subject = scene.subject.fade(1 - ramp(t, 0.3, 0.5))
    return cloud.over(subject.over(scene.background))


@EVENTS.effect("bursts into confetti", pattern=PATTERN, force=Range(0.9, 1.3))
def confetti(scene: Scene, t: float, *, pattern: str, force: float) -> Image:
    flash = np.exp(-(((t - 0.15) / 0.08) ** 2)) if t > 0 else 0.0
    subject = scene.subject.paint(np.ones(3, np.float32), flash).fade(1 - ramp(t, 0.12, 0.22))
    canvas = Canvas(scene.height, scene.width)
    if t > 0:
        age = max(0.0, t - 0.12) / 0.88
        paper = draws(64, 4, int(pattern)).T
        far = force * scene.height * (0.15 + 0.6 * paper[1]) * brake(min(1.5 * age, 1))
        x = scene.centre[0] + far * np.cos(2 * np.pi * paper[0])
        y = scene.centre[1] + 0.8 * far * np.sin(2 * np.pi * paper[0])
        y = y + 0.75 * scene.height * age * age
        turn = 12 * age * paper[3] + 6 * paper[2]
        side = 0.032 * scene.height * ramp(t, 0.12, 0.2)
        flat = 0.4 + 0.6 * np.abs(np.cos(9 * age * paper[3] + 6 * paper[1]))
        long_x, long_y = side * np.cos(turn), side * np.sin(turn)
        corner_x = np.stack([x + long_x, x - long_y * flat, x - long_x, x + long_y * flat], 1)
        corner_y = np.stack([y + long_y, y + long_x * flat, y - long_y, y - long_x * flat], 1)
        for corners, hue in zip(
            np.stack([corner_x, corner_y], 2), hue_wheel(paper[2]), strict=True
        ):
            canvas.polygon(corners, hue)
    return canvas.layer().over(subject.over(scene.background))


@EVENTS.effect("is covered in snow", depth=Range(0.25, 0.45))
def snow_over(scene: Scene, t: float, *, depth: float) -> Image:
    canvas = Canvas(scene.height, scene.width)
    for place, start, speed in draws(48, 3):
        y = (float(start) + t * (1.2 + float(speed))) % 1.2 - 0.1
        born = ramp(t * 4 - float(start) * 2, 0.0, 0.5)
        x = (float(place) + 0.03 * np.sin(9 * t + 6 * float(speed))) * scene.width
        size = (0.01 + 0.012 * float(speed)) * scene.height * born
        canvas.disc(x, y * scene.height, size, np.ones(3, np.float32))
    thick = depth * 2 * scene.extent[1] * ease(t)
    above = warp_layer(scene.subject, moved(scene.centre, shift=(0.0, thick))).alpha
    bumpy = 0.12 * smooth_noise(scene.height, scene.width, 8)[..., None]
    cap = np.clip(scene.subject.alpha - above - bumpy * ease(t), 0, 1) * min(4 * t, 1)
    white = np.array([0.96, 0.98, 1.0], np.float32)
    subject = scene.subject.paint(white, ramp(cap, 0.1, 0.5) * scene.subject.alpha)
    return canvas.layer().over(subject.over(scene.background))


@EVENTS.effect(
    "is overgrown with flowers", pattern=PATTERN, colour=Choice(("pink", "white", "red"))
)
def bloom(scene: Scene, t: float, *, pattern: str, colour: str) -> Image:
    canvas = Canvas(scene.height, scene.width)
    for across, down, start, size in draws(44, 4, int(pattern)):
        x = scene.centre[0] + (2 * float(across) - 1) * scene.extent[0]
        y = scene.centre[1] + (2 * float(down) - 1) * scene.extent[1]
        row, column = (
            round(min(max(y, 0), scene.height - 1)),
            round(min(max(x, 0), scene.width - 1)),
        )
        opened = ramp(1.3 * t - 0.9 * float(start), 0.0, 0.3)
        if scene.subject.alpha[row, column, 0] < 1 or opened == 0:
            continue
        radius = scene.radius * (0.12 + 0.08 * float(size)) * opened
        canvas.disc(x - radius, y + 0.7 * radius, 0.75 * radius, shade(rgb("green"), -0.2))
        petals = [(x + radius * p, y + radius * q) for p, q in rays(5, 1.25, 0.6)]
        canvas.polygon(petals, shade(rgb(colour), 0.2 * float(size)))
        canvas.disc(x, y, 0.4 * radius, rgb("yellow"))
    return canvas.layer().over(scene.image)


@EVENTS.effect(
    "is struck by lightning", pattern=PATTERN, colour=Choice(("blue", "purple", "yellow"))
)
def electrify(scene: Scene, t: float, *, pattern: str, colour: str) -> Image:
    amount = ramp(t, 0.0, 0.25)
    dark = scene.image * (1 - 0.6 * amount)
    light = shade(rgb(colour), 0.55)
    step = int(t * 16)
    canvas = Canvas(scene.height, scene.width)
    for bolt in range(4 if t > 0 else 0):
        jitter = draws(7, 2, 100 * int(pattern) + 10 * (step // 2) + bolt)
        start = scene.centre[0] + (2 * float(jitter[0, 0]) - 1) * 1.3 * scene.extent[0]
        path = [
            (
                start + (float(jitter[joint, 0]) - 0.5) * 0.35 * scene.height,
                scene.feet[1] * joint / 6,
            )
            for joint in range(7)
        ]
        canvas.line(path, 0.02 * scene.height, light)
    bolts = canvas.layer()
    glow = blur(bolts.alpha, 0.05 * scene.height) * 1.5
    aura = np.clip(blur(scene.subject.alpha, 0.08 * scene.height), 0, 1)
    pulse = 0.6 + 0.4 * wave(4 * t)
    lit = dark + light * np.clip(glow + 0.45 * aura * pulse, 0, 1) * amount
    return bolts.fade(amount).over(np.clip(lit, 0, 1).astype(np.float32))


@EVENTS.effect("is carried off in a soap bubble", drift=Range(0.1, 0.35, signed=True))
def bubble(scene: Scene, t: float, *, drift: float) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    up = accelerate(ramp(t, 0.25, 1.0))
    shift = (
        drift * scene.height * up + 0.03 * scene.height * wave(1.5 * t),
        -0.75 * scene.height * up,
    )
    small = 1 - 0.3 * ramp(t, 0.0, 0.4)
    layer = warp_layer(scene.subject, moved(scene.centre, shift=shift, scale=small))
    away_x, away_y = x - scene.centre[0] - shift[0], y - scene.centre[1] - shift[1]
    radius = 1.12 * scene.radius * ramp(t, 0.0, 0.3)
    far = np.hypot(away_x, away_y) / max(radius, 1e-3)
    skin = np.clip(far, 0, 1) ** 6 * (1 - ramp(far, 0.97, 1.05))
    hues = hue_wheel(np.arctan2(away_y, away_x) / 6.28 + 0.7 * t) * 0.5 + 0.5
    spot = np.exp(
        -(
            ((away_x / max(radius, 1e-3) + 0.45) ** 2 + (away_y / max(radius, 1e-3) + 0.45) ** 2)
            / 0.025
        )
    )
    alpha = np.clip(0.12 * (far < 1) + 0.75 * skin + spot, 0, 1)[..., None].astype(np.float32)
    film = Layer(np.clip(hues + spot[..., None], 0, 1).astype(np.float32) * alpha, alpha)
    return film.fade(min(8 * t, 1)).over(layer.over(scene.background))
