"""How styles arrive: drawn once a clip, they come over the picture in time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vap.synth.condition import Catalogue, Choice, Parameter, Render, Value
from vap.synth.curves import ease
from vap.synth.effects.fronts import across_frame, reached
from vap.synth.filters import mixed
from vap.synth.scene import Image, Scene

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
