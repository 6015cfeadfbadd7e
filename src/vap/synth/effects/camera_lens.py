"""Camera, part two: distance, focal length and focus change."""

from __future__ import annotations

import numpy as np

from vap.synth.condition import Catalogue, Choice, Range
from vap.synth.curves import brake, ease, ramp
from vap.synth.effects.views import middle, picture_moved
from vap.synth.filters import blur, blur_layer, mixed, saturate
from vap.synth.scene import Image, Scene
from vap.synth.warp import moved, pixel_grid, remap_picture, warp_layer, warp_picture

LENS = Catalogue("camera")


@LENS.effect("as the camera zooms in", factor=Range(1.6, 2.3))
def zoom_in(scene: Scene, t: float, *, factor: float) -> Image:
    return picture_moved(scene, middle(scene), scale=1 + (factor - 1) * ease(t))


@LENS.effect("as the camera zooms out", factor=Range(0.4, 0.6))
def zoom_out(scene: Scene, t: float, *, factor: float) -> Image:
    return picture_moved(scene, middle(scene), scale=1 - (1 - factor) * ease(t))


@LENS.effect("as the camera rolls towards it", factor=Range(1.8, 2.5))
def dolly_in(scene: Scene, t: float, *, factor: float) -> Image:
    return _dolly(scene, near=1 + (factor - 1) * ease(t), far=1 + 0.2 * ease(t), centred=ease(t))


@LENS.effect("as the camera rolls back from it", factor=Range(0.35, 0.5))
def dolly_out(scene: Scene, t: float, *, factor: float) -> Image:
    return _dolly(scene, near=1 - (1 - factor) * ease(t), far=1 - 0.18 * ease(t), centred=ease(t))


def _dolly(scene: Scene, *, near: float, far: float, centred: float) -> Image:
    """Scale subject and background by different factors; bring the subject to the middle."""
    x, y = middle(scene)
    shift = ((x - scene.centre[0]) * centred, (y - scene.centre[1]) * centred)
    layer = warp_layer(scene.subject, moved(scene.centre, scale=near, shift=shift))
    return layer.over(warp_picture(scene.background, moved((x, y), scale=far)))


@LENS.effect("with a vertigo effect", factor=Range(1.8, 2.6), way=Choice(("in", "out")))
def dolly_zoom(scene: Scene, t: float, *, factor: float, way: str) -> Image:
    scale = 1 + (factor - 1) * ease(t)
    matrix = moved(scene.centre, scale=scale if way == "in" else 1 / scale)
    return scene.subject.over(warp_picture(scene.background, matrix))


@LENS.effect(
    "as the focus is pulled", sharp=Choice(("subject", "background")), width=Range(0.07, 0.12)
)
def rack_focus(scene: Scene, t: float, *, sharp: str, width: float) -> Image:
    sigma = width * scene.height * ease(t)
    if sharp == "subject":
        return scene.subject.over(blur(scene.background, sigma))
    return blur_layer(scene.subject, sigma).over(scene.background)


@LENS.effect("with a sudden crash zoom", factor=Range(2.0, 2.8), when=Range(0.2, 0.45))
def crash_zoom(scene: Scene, t: float, *, factor: float, when: float) -> Image:
    gone = ramp(t, when, when + 0.25)
    speed = gone - ramp(t - 0.05, when, when + 0.25)
    scale = 1 + (factor - 1) * gone
    x, y = middle(scene)
    target = ((x - scene.centre[0]) * gone, (y - scene.centre[1]) * gone)
    frames = [
        picture_moved(scene, scene.centre, scale=scale * (1 - 0.25 * speed * share), shift=target)
        for share in ((0.0, 1.0, 2.0) if speed > 0 else (0.0,))
    ]
    return np.mean(frames, axis=0, dtype=np.float32)


@LENS.effect("with a zoom in three jumps", factor=Range(1.28, 1.45))
def step_zoom(scene: Scene, t: float, *, factor: float) -> Image:
    steps = min(int(t * 4), 3)
    share = steps / 3
    x, y = middle(scene)
    shift = ((x - scene.centre[0]) * share, (y - scene.centre[1]) * share)
    return picture_moved(scene, scene.centre, scale=factor**steps, shift=shift)


@LENS.effect("through a fisheye lens", strength=Range(0.5, 0.8))
def fisheye(scene: Scene, t: float, *, strength: float) -> Image:
    x, y = pixel_grid(scene.height, scene.width)
    centre_x, centre_y = middle(scene)
    across, down = (x - centre_x) / scene.height, (y - centre_y) / scene.height
    far = np.hypot(across, down)
    bend = 1 - strength * ease(t) * (0.62 - 1.6 * far**2)
    picture = remap_picture(
        scene.image, centre_x + across * bend * scene.height, centre_y + down * bend * scene.height
    )
    dark = 1 - ease(t) * ramp(far, 0.5, 0.62)
    return picture * dark[..., None]


@LENS.effect("as the camera spirals in", turns=Range(0.5, 1.0, signed=True), factor=Range(1.7, 2.4))
def spiral_zoom(scene: Scene, t: float, *, turns: float, factor: float) -> Image:
    return picture_moved(
        scene, middle(scene), scale=1 + (factor - 1) * ease(t), degrees=360 * turns * ease(t)
    )


@LENS.effect("as if it were a miniature model", focus=Range(0.45, 0.65))
def miniature(scene: Scene, t: float, *, focus: float) -> Image:
    _, y = pixel_grid(scene.height, scene.width)
    away = np.abs(y / scene.height - focus)
    soft = ramp(away, 0.06, 0.24)[..., None]
    picture = mixed(scene.image, blur(scene.image, 0.07 * scene.height), soft)
    zoomed = saturate(picture, 1.9) * (1 - 0.25 * soft)
    return mixed(scene.image, zoomed, brake(t))
