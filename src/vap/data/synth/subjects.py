"""Subjects: small drawings of things and creatures, each in any colour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from vap.data.synth.palette import rgb, shade
from vap.data.synth.pen import Pen
from vap.data.synth.scene import Image

Draw = Callable[[Pen, Image], None]
DARK = rgb("navy") * np.float32(0.5)
WHITE = rgb("white")


def _ring(radius: Callable[[float], float], points: int) -> list[tuple[float, float]]:
    """A closed curve given by its radius at each angle (radians, 0 to the right)."""
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False) - np.pi / 2
    return [(radius(a) * float(np.cos(a)), radius(a) * float(np.sin(a))) for a in angles]


def _eyes(pen: Pen, x: float, y: float, apart: float, size: float) -> None:
    """Two round eyes around ``(x, y)``."""
    for side in (-1, 1):
        pen.ellipse(x + side * apart, y, size, size, WHITE)
        pen.ellipse(x + side * apart, y, size * 0.5, size * 0.55, DARK)


def _owl(pen: Pen, colour: Image) -> None:
    pen.polygon([(-0.55, -0.5), (-0.5, -0.95), (-0.1, -0.7)], colour)
    pen.polygon([(0.55, -0.5), (0.5, -0.95), (0.1, -0.7)], colour)
    pen.ellipse(0, 0.1, 0.62, 0.85, colour)
    pen.ellipse(-0.5, 0.2, 0.18, 0.5, shade(colour, -0.3), degrees=12)
    pen.ellipse(0.5, 0.2, 0.18, 0.5, shade(colour, -0.3), degrees=-12)
    pen.ellipse(0, 0.35, 0.33, 0.45, shade(colour, 0.5))
    _eyes(pen, 0, -0.3, 0.25, 0.24)
    pen.polygon([(-0.1, -0.12), (0.1, -0.12), (0, 0.1)], rgb("orange"))


def _cat(pen: Pen, colour: Image) -> None:
    pen.stroke([(0.3, 0.7), (0.7, 0.6), (0.8, 0.2), (0.65, 0.0)], 0.16, shade(colour, -0.15))
    pen.ellipse(0, 0.45, 0.45, 0.5, colour)
    pen.polygon([(-0.5, -0.3), (-0.5, -0.95), (-0.08, -0.6)], colour)
    pen.polygon([(0.5, -0.3), (0.5, -0.95), (0.08, -0.6)], colour)
    pen.ellipse(0, -0.3, 0.55, 0.45, colour)
    pen.ellipse(0, 0.5, 0.25, 0.35, shade(colour, 0.5))
    _eyes(pen, 0, -0.35, 0.22, 0.13)
    pen.polygon([(-0.07, -0.17), (0.07, -0.17), (0, -0.08)], rgb("pink"))


def _robot(pen: Pen, colour: Image) -> None:
    pen.stroke([(0, -0.7), (0, -0.95)], 0.08, rgb("grey"))
    pen.ellipse(0, -0.9, 0.1, 0.1, rgb("red"))
    pen.box(-0.5, -0.75, 0.5, -0.15, colour)
    pen.box(-0.4, -0.62, 0.4, -0.3, DARK)
    pen.ellipse(-0.18, -0.46, 0.1, 0.1, rgb("yellow"))
    pen.ellipse(0.18, -0.46, 0.1, 0.1, rgb("yellow"))
    pen.box(-0.85, -0.02, -0.6, 0.5, rgb("grey"))
    pen.box(0.6, -0.02, 0.85, 0.5, rgb("grey"))
    pen.box(-0.6, -0.1, 0.6, 0.6, shade(colour, -0.2))
    pen.box(-0.3, 0.1, 0.3, 0.4, shade(colour, 0.5))
    pen.box(-0.45, 0.6, -0.12, 0.95, rgb("grey"))
    pen.box(0.12, 0.6, 0.45, 0.95, rgb("grey"))


def _mushroom(pen: Pen, colour: Image) -> None:
    pen.polygon([(-0.22, -0.1), (0.22, -0.1), (0.32, 0.95), (-0.32, 0.95)], rgb("white"))
    cap = [(np.cos(a) * 0.9, -0.05 - np.sin(a) * 0.85) for a in np.linspace(0, np.pi, 24)]
    pen.polygon(cap, colour)
    for x, y, r in ((-0.45, -0.3, 0.14), (0.1, -0.55, 0.17), (0.5, -0.25, 0.12), (-0.1, -0.2, 0.1)):
        pen.ellipse(x, y, r, r * 0.9, WHITE)


def _star(pen: Pen, colour: Image) -> None:
    corners = [
        (r * np.cos(a), r * np.sin(a))
        for a, r in zip(
            np.linspace(0, 2 * np.pi, 11)[:-1] - np.pi / 2, [0.95, 0.42] * 5, strict=True
        )
    ]
    pen.polygon(corners, colour)
    _eyes(pen, 0, -0.05, 0.17, 0.1)


def _fish(pen: Pen, colour: Image) -> None:
    pen.polygon([(0.4, 0), (0.95, -0.5), (0.85, 0), (0.95, 0.5)], shade(colour, -0.25))
    pen.polygon([(-0.2, -0.3), (0.3, -0.75), (0.4, -0.2)], shade(colour, -0.25))
    pen.ellipse(-0.15, 0, 0.75, 0.48, colour)
    for x in (-0.1, 0.2):
        pen.ellipse(x, 0, 0.07, 0.4, shade(colour, 0.55))
    pen.ellipse(-0.55, -0.1, 0.13, 0.13, WHITE)
    pen.ellipse(-0.58, -0.1, 0.07, 0.07, DARK)


def _house(pen: Pen, colour: Image) -> None:
    pen.box(0.35, -0.85, 0.6, -0.3, shade(colour, -0.4))
    pen.box(-0.65, -0.2, 0.65, 0.95, shade(colour, 0.55))
    pen.polygon([(-0.9, -0.15), (0, -0.95), (0.9, -0.15)], colour)
    pen.box(-0.15, 0.35, 0.2, 0.95, rgb("brown"))
    pen.box(-0.5, 0.05, -0.2, 0.4, rgb("blue"))
    pen.box(0.3, 0.05, 0.55, 0.4, rgb("blue"))


def _rocket(pen: Pen, colour: Image) -> None:
    pen.polygon([(-0.3, 0.2), (-0.7, 0.85), (-0.2, 0.6)], colour)
    pen.polygon([(0.3, 0.2), (0.7, 0.85), (0.2, 0.6)], colour)
    pen.polygon([(-0.2, 0.65), (0.2, 0.65), (0, 0.98)], rgb("orange"))
    pen.ellipse(0, 0, 0.36, 0.85, WHITE)
    pen.polygon([(-0.27, -0.5), (0, -0.98), (0.27, -0.5)], colour)
    pen.ellipse(0, -0.15, 0.2, 0.2, shade(colour, -0.3))
    pen.ellipse(0, -0.15, 0.13, 0.13, rgb("teal"))


SUBJECTS: Mapping[str, Draw] = MappingProxyType(
    {
        "owl": _owl,
        "cat": _cat,
        "robot": _robot,
        "mushroom": _mushroom,
        "star": _star,
        "fish": _fish,
        "house": _house,
        "rocket": _rocket,
    }
)
UNSEEN_SUBJECTS = frozenset({"robot", "fish"})
