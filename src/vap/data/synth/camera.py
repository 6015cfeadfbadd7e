"""Camera: the viewpoint moves; the world stays."""

from __future__ import annotations

from vap.data.synth.curves import DIRECTIONS, ease
from vap.data.synth.scene import Image, Scene
from vap.data.synth.schema import Catalogue, Choice, Range
from vap.data.synth.warp import moved, warp_layer, warp_picture

CAMERA = Catalogue("camera")


@CAMERA.effect("while the camera pans", direction=Choice(("left", "right")), reach=Range(0.2, 0.4))
def pan(scene: Scene, t: float, *, direction: str, reach: float) -> Image:
    """Look sideways; the near subject leaves faster than the background."""
    shift = -DIRECTIONS[direction][0] * reach * scene.height * ease(t)
    behind = warp_picture(scene.background, moved(scene.centre, shift=(shift, 0.0)))
    return warp_layer(scene.subject, moved(scene.centre, shift=(1.5 * shift, 0.0))).over(behind)


@CAMERA.effect("while the camera zooms out", factor=Range(0.45, 0.65))
def zoom_out(scene: Scene, t: float, *, factor: float) -> Image:
    """Everything shrinks about the middle of the picture."""
    matrix = moved((scene.width / 2, scene.height / 2), scale=1 - (1 - factor) * ease(t))
    return warp_layer(scene.subject, matrix).over(warp_picture(scene.background, matrix))
