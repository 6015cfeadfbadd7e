"""A transparent canvas for antialiased particles: discs, lines and polygons in frame pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vap.synth.opencv import cv2
from vap.synth.scene import Image, Layer

_SHIFT = 4  # fractional bits of OpenCV's fixed-point coordinates


class Canvas:
    """Draws opaque shapes; later ones cover earlier ones."""

    def __init__(self, height: int, width: int) -> None:
        # Eight bits, because OpenCV antialiases nothing else. Colors blend with black at their
        # edges, which is what multiplied by alpha means.
        self._rgba = np.zeros((height, width, 4), np.uint8)

    def disc(self, x: float, y: float, radius: float, colour: Image) -> None:
        """Fill a disc; none if the radius is not positive."""
        if radius <= 0:
            return
        lib = cv2()
        centre = round(float(x) * (1 << _SHIFT)), round(float(y) * (1 << _SHIFT))
        reach = max(1, round(float(radius) * (1 << _SHIFT)))
        lib.circle(self._rgba, centre, reach, _opaque(colour), -1, lib.LINE_AA, _SHIFT)

    def polygon(self, points: ArrayLike, colour: Image) -> None:
        """Fill a polygon with corners ``[N, 2]``."""
        lib = cv2()
        lib.fillPoly(self._rgba, [_fixed(points)], _opaque(colour), lib.LINE_AA, _SHIFT)

    def line(self, points: Sequence[tuple[float, float]], width: float, colour: Image) -> None:
        """Draw an open line."""
        lib = cv2()
        thick = max(1, round(width))
        lib.polylines(
            self._rgba, [_fixed(points)], False, _opaque(colour), thick, lib.LINE_AA, _SHIFT
        )

    def layer(self) -> Layer:
        """What has been drawn."""
        rgba = self._rgba * np.float32(1 / 255)
        return Layer.of(rgba)


def _fixed(points: ArrayLike) -> NDArray[np.int32]:
    return np.round(np.asarray(points, np.float64) * (1 << _SHIFT)).astype(np.int32)


def _opaque(colour: Image) -> list[float]:
    return [*(np.clip(colour, 0, 1) * 255).tolist(), 255.0]
