"""Fronts: the order in which a change reaches the pixels of a subject or of the frame."""

from __future__ import annotations

import numpy as np

from vap.synth.curves import DIRECTIONS, ramp
from vap.synth.scene import Image, Scene
from vap.synth.warp import pixel_grid

_SOFTNESS = 0.22


def across_subject(scene: Scene, direction: str) -> Image:
    """Place along the subject's box ``[H, W, 1]``: 0 where a front enters it, 1 where it leaves."""
    x, y = pixel_grid(scene.height, scene.width)
    dx, dy = DIRECTIONS[direction]
    along_x = (x - scene.centre[0]) / scene.extent[0] * dx
    along_y = (y - scene.centre[1]) / scene.extent[1] * dy
    return np.clip((along_x + along_y) / 2 + 0.5, 0, 1)[..., None]


def across_frame(scene: Scene, arrival: str) -> Image:
    """Order ``[H, W, 1]`` in which a front reaches the frame; ``circle`` starts at the subject."""
    x, y = pixel_grid(scene.height, scene.width)
    if arrival == "circle":
        distance = np.hypot(x - scene.centre[0], y - scene.centre[1])
        return (distance / distance.max())[..., None]
    dx, dy = DIRECTIONS[arrival]
    along = (x / scene.width - 0.5) * dx + (y / scene.height - 0.5) * dy + 0.5
    return along[..., None]


def reached(order: Image, t: float) -> Image:
    """How much of the change has come at progress ``t``, 0 to 1, for places ``order`` ``[...]``."""
    return ramp(t * (1 + _SOFTNESS) - order, 0.0, _SOFTNESS)
