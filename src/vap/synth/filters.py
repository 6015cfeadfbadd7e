"""Filters of pictures and masks; every width is in pixels."""

from __future__ import annotations

import numpy as np

from vap.synth.opencv import cv2
from vap.synth.scene import Image, Layer

_INVISIBLE = 0.2  # a blur of so few pixels leaves no trace in its neighbors
_WIDE = 8.0


def blur(picture: Image, sigma: float) -> Image:
    """Gaussian blur, mirrored at the borders; keeps a last axis of one."""
    if sigma < _INVISIBLE:
        return picture
    lib = cv2()
    height, width = picture.shape[:2]
    small, factor = picture, 1
    while sigma / factor > _WIDE:
        # A wide blur leaves nothing that half of the resolution could not hold.
        factor *= 2
        size = (max(1, width // factor), max(1, height // factor))
        small = lib.resize(small, size, interpolation=lib.INTER_AREA)
    blurred: Image = lib.GaussianBlur(
        small, (0, 0), sigma / factor, borderType=lib.BORDER_REFLECT_101
    )
    if factor > 1:
        blurred = lib.resize(blurred, (width, height), interpolation=lib.INTER_CUBIC)
        blurred = lib.GaussianBlur(blurred, (0, 0), factor / 2)
    return blurred.reshape(picture.shape)


def blur_layer(layer: Layer, sigma: float) -> Layer:
    """Gaussian blur of a layer, softening its outline."""
    return Layer(blur(layer.rgb, sigma), blur(layer.alpha, sigma))


def smear(picture: Image, dx: float, dy: float) -> Image:
    """Motion blur along a displacement in pixels."""
    length = max(abs(dx), abs(dy))
    taps = int(length) | 1
    if taps == 1:
        return picture
    lib = cv2()
    kernel = np.zeros((taps, taps), np.float32)
    middle = taps // 2
    half_x, half_y = round(middle * dx / length), round(middle * dy / length)
    lib.line(kernel, (middle - half_x, middle - half_y), (middle + half_x, middle + half_y), 1.0)
    smeared: Image = lib.filter2D(
        picture, -1, kernel / kernel.sum(), borderType=lib.BORDER_REFLECT_101
    )
    return smeared.reshape(picture.shape)


def luminance(picture: Image) -> Image:
    """Brightness ``[H, W, 1]`` of RGB ``[H, W, 3]``, Rec. 601 weights."""
    weighted: Image = picture @ np.array([[0.299], [0.587], [0.114]], np.float32)
    return weighted


def edges(picture: Image, sigma: float) -> Image:
    """Strength of edges ``[H, W, 1]`` about ``sigma`` wide, 0 to about 1."""
    grey = blur(luminance(picture), sigma)[..., 0]
    lib = cv2()
    slope_x = lib.Sobel(grey, lib.CV_32F, 1, 0)
    slope_y = lib.Sobel(grey, lib.CV_32F, 0, 1)
    strength: Image = np.hypot(slope_x, slope_y)[..., None] * max(sigma, 0.5)
    return strength


def slopes(field: Image) -> tuple[Image, Image]:
    """Change of a field ``[H, W]`` per pixel along x and along y, each ``[H, W]``."""
    slope_y, slope_x = np.gradient(field)
    return np.asarray(slope_x), np.asarray(slope_y)


def grow_mask(mask: Image, pixels: float) -> Image:
    """Widen (or with negative ``pixels`` narrow) a mask ``[H, W, 1]``."""
    size = 2 * max(1, round(abs(pixels))) + 1
    lib = cv2()
    kernel = lib.getStructuringElement(lib.MORPH_ELLIPSE, (size, size))
    changed: Image = lib.dilate(mask, kernel) if pixels > 0 else lib.erode(mask, kernel)
    return changed.reshape(mask.shape)


def saturate(picture: Image, factor: float) -> Image:
    """Scale the distance of each color from grey."""
    grey = luminance(picture)
    vivid: Image = np.clip(grey + (picture - grey) * factor, 0, 1)
    return vivid


def hue_wheel(turns: Image) -> Image:
    """Vivid colors ``[..., 3]`` around the wheel; ``turns`` ``[...]`` in whole turns."""
    offsets = np.array([0.0, 1 / 3, 2 / 3], np.float32)
    wheel: Image = 0.55 + 0.45 * np.cos(2 * np.pi * (turns[..., None] - offsets))
    return wheel.astype(np.float32)


def mixed(first: Image, second: Image | float, share: float | Image) -> Image:
    """Blend a picture with another or a grey: 0 gives the first, 1 the second."""
    blend: Image = first + (second - first) * np.asarray(share, np.float32)
    return blend
