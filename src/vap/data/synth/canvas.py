"""A transparent canvas for antialiased particles: discs, lines and polygons in frame pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vap.data.synth.opencv import cv2
from vap.data.synth.scene import Image, Layer

_SHIFT = 4  # fractional bits of OpenCV's fixed-point coordinates


class Canvas:
    """Draws opaque shapes; later ones cover earlier ones.

    Args:
        height: In pixels.
        width: In pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        # Eight bits, because OpenCV antialiases nothing else. Colours blend with black at their
        # edges, which is what multiplied by alpha means.
        self._rgb = np.zeros((height, width, 3), np.uint8)
        self._alpha = np.zeros((height, width), np.uint8)

    def disc(self, x: float, y: float, radius: float, colour: Image) -> None:
        """Fill a disc."""
        if radius <= 0:
            return
        lib = cv2()
        centre = (_fixed(x), _fixed(y))
        for target, value in self._targets(colour):
            lib.circle(target, centre, max(1, _fixed(radius)), value, -1, lib.LINE_AA, _SHIFT)

    def polygon(self, points: Sequence[tuple[float, float]], colour: Image) -> None:
        """Fill a polygon."""
        corners = np.array([[_fixed(x), _fixed(y)] for x, y in points], np.int32)
        lib = cv2()
        for target, value in self._targets(colour):
            lib.fillPoly(target, [corners], value, lib.LINE_AA, _SHIFT)

    def line(self, points: Sequence[tuple[float, float]], width: float, colour: Image) -> None:
        """Draw an open line."""
        corners = np.array([[_fixed(x), _fixed(y)] for x, y in points], np.int32)
        lib = cv2()
        for target, value in self._targets(colour):
            lib.polylines(
                target, [corners], False, value, max(1, round(width)), lib.LINE_AA, _SHIFT
            )

    def layer(self) -> Layer:
        """What has been drawn."""
        scale = np.float32(1 / 255)
        return Layer(self._rgb * scale, self._alpha[..., None] * scale)

    def _targets(
        self, colour: Image
    ) -> tuple[tuple[np.ndarray, list[float]], tuple[np.ndarray, int]]:
        return (self._rgb, (np.clip(colour, 0, 1) * 255).tolist()), (self._alpha, 255)


def _fixed(value: float) -> int:
    return round(float(value) * (1 << _SHIFT))
