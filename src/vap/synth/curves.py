"""Progress curves: how an amount from 0 to 1 unfolds over time."""

from __future__ import annotations

import math
from typing import overload

import numpy as np

from vap.synth.scene import Image

DIRECTIONS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}


def sign(side: str) -> float:
    """-1 for left, 1 for right."""
    return -1.0 if side == "left" else 1.0


def ease(t: float) -> float:
    """Slow at both ends."""
    return t * t * (3 - 2 * t)


def accelerate(t: float) -> float:
    """From rest, as under gravity."""
    return t * t


def brake(t: float) -> float:
    """Fast at first, coming to rest."""
    return t * (2 - t)


def wave(turns: float) -> float:
    """Sine of a number of full turns."""
    return math.sin(2 * math.pi * turns)


@overload
def ramp(value: float, low: float, high: float) -> float: ...
@overload
def ramp(value: Image, low: float, high: float) -> Image: ...
def ramp(value: float | Image, low: float, high: float) -> float | Image:
    """0 below ``low``, 1 above ``high``, smooth in between; for numbers and maps."""
    if isinstance(value, np.ndarray):
        share = np.clip((value - low) / (high - low), 0, 1)
        result: Image = share * share * (3 - 2 * share)
        return result
    return ease(min(max((value - low) / (high - low), 0.0), 1.0))
