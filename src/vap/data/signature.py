"""A clip in a kilobyte of numbers: what it looks like, and how it changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

FRAMES = 8  # frames a signature looks at, evenly over the clip
SIDE = 32  # pixels along each side that they are reduced to
HASH_BITS = FRAMES * 64
_GRID = 4  # cells along each side in which change is measured


@dataclass(frozen=True, slots=True, eq=False)
class ClipSignature:
    """What is kept of a clip's frames."""

    # uint8 [64], the 512 bits of its perceptual hash: 64 for each of 8 frames.
    bits: npt.NDArray[np.uint8]
    colors: npt.NDArray[np.uint8]  # uint8 [8, 4, 4, 3], mean color of each frame in a 4 × 4 grid
    # float32 [D], how far and where the clip moves away from its first frame.
    change: npt.NDArray[np.float32]


def sign(frames: npt.NDArray[np.uint8]) -> ClipSignature:
    """Make the signature of frames ``[8, 32, 32, 3]``, uint8 RGB taken evenly over a clip."""
    if frames.shape != (FRAMES, SIDE, SIDE, 3):
        raise ValueError(f"frames have the shape {frames.shape}; a signature needs (8, 32, 32, 3).")
    colors = frames.astype(np.float32) / np.float32(255)
    return ClipSignature(
        bits=_perceptual_hash(colors.mean(axis=-1)),
        colors=np.rint(_cells(colors) * 255).astype(np.uint8),
        change=_change(colors),
    )


def _perceptual_hash(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Which of each frame's 8 × 8 lowest frequencies are above their median ("pHash")."""
    basis = _cosines(SIDE)[1:9]
    spectrum = (basis @ grey @ basis.T).reshape(len(grey), 64)
    return np.packbits(spectrum > np.median(spectrum, axis=1, keepdims=True), axis=1).reshape(-1)


@cache
def _cosines(size: int) -> npt.NDArray[np.float32]:
    """The basis of the discrete cosine transform (type II), a row a frequency."""
    frequency, position = np.arange(size)[:, None], np.arange(size)[None, :]
    return np.cos(np.pi * frequency * (position + 0.5) / size).astype(np.float32)


def _change(colors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Change against the first frame and against the frame before, in a 4 × 4 grid and in color."""
    since_first = np.abs(colors[1:] - colors[:1]).mean(axis=-1)
    since_last = np.abs(np.diff(colors, axis=0)).mean(axis=-1)
    shift = colors[1:].mean(axis=(1, 2)) - colors[:1].mean(axis=(1, 2))
    parts = (_cells(since_first), _cells(since_last), shift)
    return np.concatenate([part.reshape(-1) for part in parts]).astype(np.float32)


def _cells(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Mean of [T, H, W, ...] in each cell of the grid: [T, 4, 4, ...]."""
    cell = SIDE // _GRID
    frames, channels = len(pixels), pixels.shape[3:]
    return pixels.reshape(frames, _GRID, cell, _GRID, cell, *channels).mean(axis=(2, 4))
