"""Views of a scene: the subject or the whole picture moved, and what a moved camera sees."""

from __future__ import annotations

from typing import Any

from vap.synth.scene import Image, Scene
from vap.synth.warp import moved, pixel_grid, remap_picture, warp_layer, warp_picture


def subject_moved(scene: Scene, about: tuple[float, float], **move: Any) -> Image:
    """The subject moved about a point, as by :func:`moved`, on the untouched background."""
    return warp_layer(scene.subject, moved(about, **move)).over(scene.background)


def picture_moved(scene: Scene, about: tuple[float, float], **move: Any) -> Image:
    """Subject and background moved about a point, as by :func:`moved`, as one flat picture."""
    matrix = moved(about, **move)
    return warp_layer(scene.subject, matrix).over(warp_picture(scene.background, matrix))


def middle(scene: Scene) -> tuple[float, float]:
    """Middle of the frame, x and y in pixels."""
    return (scene.width - 1) / 2, (scene.height - 1) / 2


def parallax(scene: Scene, dx: float, dy: float) -> Image:
    """The background seen from a camera moved sideways: near parts shift by more."""
    x, y = pixel_grid(scene.height, scene.width)
    near = 0.15 + 0.7 * scene.nearness
    return remap_picture(scene.background, x - dx * near, y - dy * near)
