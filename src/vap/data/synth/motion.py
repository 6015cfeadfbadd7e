"""Motion: the subject moves; the camera and the background stay."""

from __future__ import annotations

from vap.data.synth.curves import ease, wave
from vap.data.synth.scene import Image, Scene
from vap.data.synth.schema import Catalogue, Range
from vap.data.synth.warp import moved, warp_layer

MOTION = Catalogue("motion")


@MOTION.effect("jumps up and down", hops=Range(1, 3), height=Range(0.2, 0.35))
def jump(scene: Scene, t: float, *, hops: float, height: float) -> Image:
    """Hop on the spot."""
    hop = abs(wave(t * round(hops) / 2))
    matrix = moved(
        scene.feet,
        shift=(0.0, -height * scene.height * hop),
        scale=(1 - 0.1 * hop, 1 + 0.1 * hop),
    )
    return warp_layer(scene.subject, matrix).over(scene.background)


@MOTION.effect("spins around", turns=Range(0.5, 1.5, signed=True))
def spin(scene: Scene, t: float, *, turns: float) -> Image:
    """Turn in the plane of the picture."""
    matrix = moved(scene.centre, degrees=360 * turns * ease(t))
    return warp_layer(scene.subject, matrix).over(scene.background)


@MOTION.effect("sways from side to side", degrees=Range(18, 30, signed=True), swings=Range(1, 2.5))
def sway(scene: Scene, t: float, *, degrees: float, swings: float) -> Image:
    """Rock about the feet."""
    matrix = moved(scene.feet, degrees=degrees * wave(t * swings))
    return warp_layer(scene.subject, matrix).over(scene.background)
