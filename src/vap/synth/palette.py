"""Named colors, so that captions can say what is seen."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from vap.synth.scene import Image

COLOURS: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "red": (0.86, 0.20, 0.18),
        "orange": (0.95, 0.55, 0.16),
        "yellow": (0.97, 0.82, 0.25),
        "green": (0.30, 0.66, 0.31),
        "teal": (0.13, 0.62, 0.62),
        "blue": (0.21, 0.42, 0.84),
        "purple": (0.53, 0.31, 0.73),
        "pink": (0.95, 0.54, 0.68),
        "brown": (0.52, 0.34, 0.21),
        "white": (0.94, 0.93, 0.90),
        "grey": (0.52, 0.54, 0.57),
        "navy": (0.13, 0.18, 0.38),
    }
)


def rgb(name: str) -> Image:
    """A named color as ``[3]`` in 0 to 1."""
    return np.array(COLOURS[name], np.float32)


def shade(colour: Image, amount: float) -> Image:
    """Lighter (``amount`` > 0, towards white) or darker (< 0, towards black)."""
    target = 1.0 if amount > 0 else 0.0
    mixed: Image = (colour + (target - colour) * abs(amount)).astype(np.float32)
    return mixed
