"""Peak signal-to-noise ratio of pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

EXACT = 60.0
"""What equal pictures count as, in dB: just above what rounding to 8 bits leaves (58.9)."""


def psnr(picture: NDArray[np.floating[Any]], truth: NDArray[np.floating[Any]]) -> float:
    """Peak signal-to-noise ratio in dB, at most :data:`EXACT`."""
    if picture.shape != truth.shape:
        raise ValueError(f"The shapes {picture.shape} and {truth.shape} differ.")
    error = float(np.square(picture.astype(np.float64) - truth.astype(np.float64)).mean())
    return min(EXACT, -10 * float(np.log10(error))) if error > 0 else EXACT
