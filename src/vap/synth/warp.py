"""Geometry of pictures: every move is an inverse map from target pixels to source pixels."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vap.synth.opencv import cv2
from vap.synth.scene import Image, Layer

Matrix = NDArray[np.float64]


@lru_cache(maxsize=8)
def pixel_grid(height: int, width: int) -> tuple[Image, Image]:
    """Coordinates ``x`` and ``y`` of every pixel, each ``[H, W]``."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x.setflags(write=False)
    y.setflags(write=False)
    return x, y


def moved(
    centre: tuple[float, float],
    *,
    shift: tuple[float, float] = (0.0, 0.0),
    scale: float | tuple[float, float] = 1.0,
    degrees: float = 0.0,
    shear: float = 0.0,  # pixels to the right for each pixel above the center
) -> Matrix:
    """Affine matrix ``[2, 3]``: shear, scale and turn (clockwise) about a point, then shift."""
    scale_x, scale_y = scale if isinstance(scale, tuple) else (scale, scale)
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[scale_x, 0.0], [0.0, scale_y]]) @ np.array([[1, -shear], [0, 1]])
    origin = np.array(centre)
    offset = origin + np.array(shift) - linear @ origin
    return np.hstack([linear, offset[:, None]])


def warp_picture(picture: Image, matrix: Matrix) -> Image:
    """Move an opaque picture ``[H, W, C]``; what comes in from outside is its mirror image."""
    height, width = picture.shape[:2]
    mirror = cv2().BORDER_REFLECT_101
    result: Image = cv2().warpAffine(picture, matrix, (width, height), borderMode=mirror)
    return result


def warp_layer(layer: Layer, matrix: Matrix) -> Layer:
    """Move a layer; what comes in from outside is transparent."""
    height, width = layer.rgb.shape[:2]
    return Layer.of(cv2().warpAffine(layer.rgba, matrix, (width, height)))


def remap_picture(picture: Image, x: Image, y: Image) -> Image:
    """Fetch each pixel of an opaque picture from source coordinates ``x``, ``y`` ``[H, W]``."""
    return _remapped(picture, x, y, cv2().BORDER_REFLECT_101)


def remap_layer(layer: Layer, x: Image, y: Image) -> Layer:
    """Fetch each pixel of a layer from source coordinates ``x``, ``y`` ``[H, W]``."""
    return Layer.of(_remapped(layer.rgba, x, y, cv2().BORDER_CONSTANT))


def _remapped(picture: Image, x: Image, y: Image, border: int) -> Image:
    across, down = x.astype(np.float32, copy=False), y.astype(np.float32, copy=False)
    result: Image = cv2().remap(picture, across, down, cv2().INTER_LINEAR, borderMode=border)
    return result


def paste(picture: Image, piece: Layer, corner: tuple[int, int], matrix: Matrix) -> None:
    """Put a small moved layer onto a picture, in place, touching only the pixels it covers."""
    height, width = picture.shape[:2]
    tall, wide = piece.alpha.shape[:2]
    left, top = corner
    box = np.array([[left, top], [left + wide, top], [left + wide, top + tall], [left, top + tall]])
    reached = box @ matrix[:, :2].T + matrix[:, 2]
    low = np.maximum(np.floor(reached.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(reached.max(axis=0)).astype(int) + 1, (width, height))
    if (high <= low).any():
        return
    own = matrix.copy()
    own[:, 2] += matrix[:, :2] @ np.array(corner) - low
    size = (int(high[0] - low[0]), int(high[1] - low[1]))
    rgba = cv2().warpAffine(piece.rgba, own, size)
    region = picture[low[1] : high[1], low[0] : high[0]]
    region *= 1 - rgba[..., 3:]
    region += rgba[..., :3]
