"""Camera, part one: the viewpoint shifts, rises, turns or shakes."""

from __future__ import annotations

import numpy as np

from vap.synth.condition import Catalogue, Choice, Range
from vap.synth.curves import DIRECTIONS, ease, ramp
from vap.synth.effects.views import middle, parallax, picture_moved
from vap.synth.fields import draws
from vap.synth.filters import smear
from vap.synth.scene import Image, Layer, Scene
from vap.synth.warp import moved, pixel_grid, remap_picture, warp_layer

POSITION = Catalogue("camera")
_SIDE = Choice(("left", "right"))
_HEIGHT = Choice(("up", "down"))


@POSITION.effect("as the camera pans", side=_SIDE, reach=Range(0.35, 0.6))
def pan(scene: Scene, t: float, *, side: str, reach: float) -> Image:
    shift = -DIRECTIONS[side][0] * reach * scene.height * ease(t)
    return picture_moved(scene, scene.centre, shift=(shift, 0.0))


@POSITION.effect("as the camera tilts", height=_HEIGHT, reach=Range(0.3, 0.5))
def tilt(scene: Scene, t: float, *, height: str, reach: float) -> Image:
    shift = -DIRECTIONS[height][1] * reach * scene.height * ease(t)
    return picture_moved(scene, scene.centre, shift=(0.0, shift))


@POSITION.effect("as the camera glides past on rails", side=_SIDE, reach=Range(0.45, 0.7))
def truck(scene: Scene, t: float, *, side: str, reach: float) -> Image:
    shift = -DIRECTIONS[side][0] * reach * scene.height * ease(t)
    layer = warp_layer(scene.subject, moved(scene.centre, shift=(shift, 0.0)))
    return layer.over(parallax(scene, 0.4 * shift, 0.0))


@POSITION.effect("as the camera moves on a crane", height=_HEIGHT, reach=Range(0.35, 0.55))
def crane(scene: Scene, t: float, *, height: str, reach: float) -> Image:
    shift = -DIRECTIONS[height][1] * reach * scene.height * ease(t)
    matrix = moved(scene.centre, shift=(0.0, shift), scale=1 - 0.25 * ease(t))
    return warp_layer(scene.subject, matrix).over(parallax(scene, 0.0, 0.4 * shift))


@POSITION.effect("as the camera tips to one side", degrees=Range(20, 35, signed=True))
def roll(scene: Scene, t: float, *, degrees: float) -> Image:
    return picture_moved(scene, middle(scene), degrees=degrees * ease(t))


@POSITION.effect("as the camera turns upside down and around", turns=Choice(("1", "-1")))
def barrel_roll(scene: Scene, t: float, *, turns: str) -> Image:
    return picture_moved(scene, middle(scene), degrees=360 * int(turns) * ease(t))


@POSITION.effect("as the camera circles around it", side=_SIDE, reach=Range(0.5, 0.8))
def arc(scene: Scene, t: float, *, side: str, reach: float) -> Image:
    way = DIRECTIONS[side][0]
    turn = ease(t)
    shift = way * reach * 1.3 * scene.height * turn
    x, y = pixel_grid(scene.height, scene.width)
    keystone = 1 + 0.3 * turn * way * (x / scene.width - 0.5)
    across = y + (y - scene.height / 2) * (keystone - 1)
    behind = remap_picture(scene.background, x - shift, across)
    narrow = 1 - 0.45 * turn
    matrix = moved(scene.centre, scale=(narrow, 1.0), shear=0.0)
    layer = warp_layer(scene.subject, matrix)
    side_light = 1 - 0.35 * turn * np.clip(
        0.5 + way * (x - scene.centre[0]) / scene.extent[0] / 2, 0, 1
    )
    return Layer(layer.rgb * side_light[..., None], layer.alpha).over(behind)


@POSITION.effect("as the camera shakes", strength=Range(0.05, 0.09))
def shake(scene: Scene, t: float, *, strength: float) -> Image:
    chance = draws(64, 3)[int(t * 32) % 64]
    reach = 2 * strength * scene.height * ramp(t, 0.0, 0.12)
    return picture_moved(
        scene,
        middle(scene),
        shift=((float(chance[0]) - 0.5) * 2 * reach, (float(chance[1]) - 0.5) * 2 * reach),
        degrees=(float(chance[2]) - 0.5) * 8 * ramp(t, 0.0, 0.12),
        scale=1 + 0.08 * ramp(t, 0.0, 0.12),
    )


@POSITION.effect("as the camera whips away and back", side=_SIDE, when=Range(0.3, 0.5))
def whip_pan(scene: Scene, t: float, *, side: str, when: float) -> Image:
    way = -DIRECTIONS[side][0]
    gone = ramp(t, when - 0.3, when) - ramp(t, when + 0.15, when + 0.45)
    before = ramp(t - 0.06, when - 0.3, when) - ramp(t - 0.06, when + 0.15, when + 0.45)
    shift = way * 1.6 * scene.height * gone
    speed = 1.6 * scene.height * abs(gone - before)
    return smear(picture_moved(scene, middle(scene), shift=(shift, 0.0)), max(speed, 1e-3), 0.0)
