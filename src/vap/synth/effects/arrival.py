"""How changes arrive: as fronts over the subject or the frame; styles, drawn once a clip."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vap.synth.condition import Catalogue, Choice, Parameter, Render, Value
from vap.synth.curves import DIRECTIONS, ease, ramp
from vap.synth.filters import mixed
from vap.synth.scene import Image, Scene
from vap.synth.warp import pixel_grid

_SOFTNESS = 0.22
ARRIVAL = Choice(("left", "right", "up", "down", "circle", "everywhere"))


def arrive(scene: Scene, styled: Image, t: float, arrival: str) -> Image:
    """Bring a styled picture ``[H, W, 3]`` in: as a front, or everywhere at once."""
    if arrival == "everywhere":
        return mixed(scene.image, styled, ease(t))
    return mixed(scene.image, styled, reached(across_frame(scene, arrival), t))


def still(catalogue: Catalogue, phrase: str, **parameters: Parameter) -> Callable[[Render], Render]:
    """Enter the decorated ``(scene, **parameters) -> picture`` as a style that does not move.

    The picture is drawn once a clip and arrives over time.
    """

    def enter(draw: Render) -> Render:
        def render(scene: Scene, t: float, *, arrival: str, **own: Value) -> Image:
            key = (draw.__name__, *sorted(own.items()))
            return arrive(scene, scene.once(key, lambda: draw(scene, **own)), t, arrival)

        render.__name__ = draw.__name__
        return catalogue.effect(phrase, arrival=ARRIVAL, **parameters)(render)

    return enter


def gradient(levels: Image, stops: list[tuple[float, float, float]]) -> Image:
    """Map brightness ``[H, W, 1]`` through evenly spaced colors to ``[H, W, 3]``."""
    places = np.linspace(0, 1, len(stops))
    table = np.array(stops)
    channels = [np.interp(levels[..., 0], places, table[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=2).astype(np.float32)


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
