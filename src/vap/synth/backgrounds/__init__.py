"""All backgrounds by name, and those that training never uses."""

from __future__ import annotations

from vap.synth.backgrounds.landscapes import LANDSCAPES
from vap.synth.backgrounds.photographs import PHOTOGRAPHS
from vap.synth.backgrounds.textures import TEXTURES
from vap.synth.palette import rgb
from vap.synth.scene import Image

_DRAWN = {**LANDSCAPES, **TEXTURES}
BACKGROUNDS: tuple[str, ...] = (*_DRAWN, *PHOTOGRAPHS)

UNSEEN_BACKGROUNDS: frozenset[str] = frozenset(
    {*("dunes", "starry hill", "hexagons", "fractal"), *("galaxies", "launch pad", "park")}
)


SCENIC_BACKGROUNDS: frozenset[str] = frozenset({*LANDSCAPES, "mist", "marble", "bokeh"})
"""Drawn places and soft backdrops: nothing like noise, which costs a small model its capacity."""


def place(background: str, colour: str) -> str:
    """Where a subject is, in words: "on a beach under a red sky"."""
    phrase = _DRAWN[background][0] if background in _DRAWN else PHOTOGRAPHS[background][0]
    return phrase.format(colour=colour)


def draw_background(
    background: str, height: int, width: int, *, seed: int, colour: str, accent: str
) -> tuple[Image, Image]:
    """Draw a background.

    Returns:
        The picture ``[H, W, 3]`` and how near each pixel is ``[H, W]``: 0 at infinity, 1 beside
        the subject.
    """
    colours = rgb(colour), rgb(accent)
    if background in _DRAWN:
        return _DRAWN[background][1](height, width, seed, *colours)
    return PHOTOGRAPHS[background][1].draw(height, width, seed, *colours)
