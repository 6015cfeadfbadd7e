"""Subjects cut out of real photographs along an outline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vap.synth.opencv import cv2
from vap.synth.photos import photo
from vap.synth.scene import Image
from vap.synth.subjects.pen import Point, arc


@dataclass(frozen=True, slots=True)
class CutOut:
    """A part of a photograph."""

    file: str
    outline: tuple[Point, ...]
    tinted: bool = False
    border: float = 0.0

    def draw(self, size: int, colour: Image) -> tuple[Image, Image]:
        """Colors multiplied by alpha ``[S, S, 3]`` and alpha ``[S, S, 1]``."""
        lib = cv2()
        corners = np.array(self.outline, np.float32)
        low, high = corners.min(axis=0), corners.max(axis=0)
        side = float((high - low).max()) * 1.04 + 2
        origin = (low + high) / 2 - side / 2
        # Work at twice the final size: enough for smooth edges, cheaper than the photograph's own.
        work = 2 * size
        scale = work / side
        matrix = np.array([[scale, 0, -origin[0] * scale], [0, scale, -origin[1] * scale]])
        pixels = lib.warpAffine(
            photo(self.file), matrix, (work, work), borderMode=lib.BORDER_REPLICATE
        )
        mask = np.zeros((work, work), np.float32)
        lib.fillPoly(
            mask, [np.round((corners - origin) * scale * 16).astype(np.int32)], 1.0, shift=4
        )
        if self.border:
            width = max(1, round(self.border * work))
            inner = lib.erode(mask, np.ones((2 * width + 1, 2 * width + 1), np.uint8))
            pixels = pixels * inner[..., None] + (1 - inner[..., None])
        if self.tinted:
            grey = pixels.mean(axis=2, keepdims=True)
            pixels = np.clip(grey * (colour * 0.8 + 0.35), 0, 1)
        rgb = lib.resize(pixels * mask[..., None], (size, size), interpolation=lib.INTER_AREA)
        alpha = lib.resize(mask, (size, size), interpolation=lib.INTER_AREA)
        return rgb.astype(np.float32), alpha[..., None]


def _circle(x: float, y: float, rx: float, ry: float) -> tuple[Point, ...]:
    return tuple(arc(x, y, rx, ry, 0, 360))


_ASTRONAUT = (
    *((154, 68), (179, 26), (227, 12), (282, 26), (302, 77), (276, 130), (300, 170), (304, 230)),
    *((341, 265), (353, 392), (330, 510), (24, 510), (32, 340), (68, 256), (123, 222), (116, 179)),
    *((160, 150), (168, 118)),
)
_PHOTOGRAPHER = (
    *((205, 60), (256, 77), (268, 111), (255, 150), (316, 170), (304, 213), (256, 240), (205, 290)),
    *((188, 350), (128, 384), (145, 510), (31, 510), (60, 392), (38, 358), (26, 273), (43, 205)),
    *((94, 153), (162, 128), (162, 85)),
)
_TABBY = (
    *((40, 4), (130, 2), (330, 2), (356, 50), (362, 130), (345, 215), (290, 275), (235, 288)),
    *((150, 268), (62, 225), (22, 150), (26, 60)),
)

CUTOUTS = {
    "cup of coffee": CutOut("coffee.png", _circle(278, 200, 200, 182)),
    "old coin": CutOut("coins.png", _circle(333, 44, 29, 28), tinted=True),
    "astronaut": CutOut("astronaut.png", _ASTRONAUT),
    "tabby cat": CutOut("chelsea.png", _TABBY, border=0.025),
    "photographer": CutOut("camera.png", _PHOTOGRAPHER, border=0.02),
    "glass orb": CutOut("retina.jpg", _circle(706, 706, 660, 660), tinted=True),
}
