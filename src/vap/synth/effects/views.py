"""Views of a scene: what a moved or turned camera sees."""

from __future__ import annotations

from vap.synth.scene import Image, Scene
from vap.synth.warp import Matrix, pixel_grid, remap_picture, warp_layer, warp_picture


def whole(scene: Scene, matrix: Matrix) -> Image:
    """Subject and background moved as one flat picture."""
    return warp_layer(scene.subject, matrix).over(warp_picture(scene.background, matrix))


def middle(scene: Scene) -> tuple[float, float]:
    """Middle of the frame, x and y in pixels."""
    return (scene.width - 1) / 2, (scene.height - 1) / 2


def parallax(scene: Scene, dx: float, dy: float) -> Image:
    """The background seen from a camera moved sideways: near parts shift by more."""
    x, y = pixel_grid(scene.height, scene.width)
    near = 0.15 + 0.7 * scene.nearness
    return remap_picture(scene.background, x - dx * near, y - dy * near)
