"""An antialiased pen that draws colored shapes and their alpha mask in unit coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np

from vap.synth.filters import slopes
from vap.synth.opencv import cv2
from vap.synth.palette import rgb
from vap.synth.scene import Image

_OVERSAMPLING = 3
_SHIFT = 4  # fractional bits of OpenCV's fixed-point coordinates

Point = tuple[float, float]
DARK = rgb("navy") * np.float32(0.5)
WHITE = rgb("white")


class Pen:
    """Draws into a square patch whose coordinates run from -1 to 1, y downwards."""

    def __init__(self, size: int) -> None:
        self._side = size * _OVERSAMPLING
        self._size = size
        self._rgb = np.zeros((self._side, self._side, 3), np.float32)
        self._mask = np.zeros((self._side, self._side), np.uint8)
        self._ways: tuple[int, ...] = (1,)
        self.both = copy(self)  # draws on the same canvas, and the mirror image as well
        self.both._ways = (1, -1)

    def polygon(self, points: Sequence[Point], colour: Image) -> None:
        """Fill a polygon."""
        for way in self._ways:
            self._fill([(way * x, y) for x, y in points], colour)

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, colour: Image, *, degrees: float = 0.0
    ) -> None:
        """Fill an ellipse with radii ``rx``, ``ry``, turned clockwise."""
        for way in self._ways:
            self._fill(arc(way * x, y, rx, ry, 0, 360, degrees=way * degrees), colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Image) -> None:
        """Fill a rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def stroke(self, points: Sequence[Point], width: float, colour: Image) -> None:
        """Draw an open line of a given width with round joints."""
        thickness = max(1, round(width * self._side / 2))
        for way in self._ways:
            corners = self._fixed([(way * x, y) for x, y in points])
            for canvas, value in ((self._rgb, colour.tolist()), (self._mask, 255)):
                cv2().polylines(canvas, [corners], False, value, thickness, shift=_SHIFT)

    def eyes(self, x: float, y: float, apart: float, size: float) -> None:
        """Draw two round eyes ``apart`` to either side of a point."""
        self.eye(x - apart, y, size)
        self.eye(x + apart, y, size)

    def eye(self, x: float, y: float, size: float) -> None:
        """Draw one round eye."""
        self.ellipse(x, y, size, size, WHITE)
        self.ellipse(x, y + 0.05 * size, size * 0.55, size * 0.6, DARK)

    def finish(self) -> tuple[Image, Image]:
        """The drawing, softly lit from the upper left.

        Returns:
            Colors multiplied by alpha ``[S, S, 3]`` and alpha ``[S, S, 1]``.
        """
        lib = cv2()
        size = (self._size, self._size)
        mask = self._mask.astype(np.float32) / 255
        rgb = lib.resize(self._rgb * mask[..., None], size, interpolation=lib.INTER_AREA)
        alpha = lib.resize(mask, size, interpolation=lib.INTER_AREA)
        relief = lib.GaussianBlur(alpha, (0, 0), max(self._size / 12, 0.8))
        slope_x, slope_y = slopes(relief)
        light = 1 + np.clip((slope_x + 1.6 * slope_y) * self._size * 0.09, -0.28, 0.28)
        lit = np.clip(rgb * light[..., None], 0, alpha[..., None])
        return lit.astype(np.float32), alpha[..., None].astype(np.float32)

    def _fill(self, points: Sequence[Point], colour: Image) -> None:
        for canvas, value in ((self._rgb, colour.tolist()), (self._mask, 255)):
            cv2().fillPoly(canvas, [self._fixed(points)], value, shift=_SHIFT)

    def _fixed(self, points: Sequence[Point]) -> np.ndarray:
        """Unit coordinates as OpenCV's fixed-point pixels."""
        scale = self._side / 2 * (1 << _SHIFT)
        return np.round((np.array(points) + 1) * scale).astype(np.int32)


def arc(
    x: float, y: float, rx: float, ry: float, start: float, stop: float, *, degrees: float = 0.0
) -> list[Point]:
    """Points along an ellipse from one angle to another, clockwise from the right, in degrees."""
    angle = np.deg2rad(np.linspace(start, stop, 32))
    turn = np.deg2rad(degrees)
    along, across = rx * np.cos(angle), ry * np.sin(angle)
    return list(
        zip(
            x + along * np.cos(turn) - across * np.sin(turn),
            y + along * np.sin(turn) + across * np.cos(turn),
            strict=True,
        )
    )


def rays(count: int, outer: float, inner: float) -> list[Point]:
    """Corners of a star with ``count`` rays, the first upwards."""
    angle = np.linspace(0, 2 * np.pi, 2 * count, endpoint=False) - np.pi / 2
    radius = np.where(np.arange(2 * count) % 2 == 0, outer, inner)
    return list(zip(radius * np.cos(angle), radius * np.sin(angle), strict=True))
