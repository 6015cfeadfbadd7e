"""Which frames of a clip to use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    import torch

FrameSelection = Literal["evenly", "first", "random"]


def select_frames(
    count_available: int,
    count_wanted: int,
    mode: FrameSelection = "evenly",
    generator: torch.Generator | None = None,
) -> list[int]:
    """Choose frame indices of a clip, in order of time.

    ``"evenly"`` spreads over the whole clip, ``np.linspace(0, n - 1, F)`` truncated to integers;
    more frames than there are repeats some. ``"first"`` takes the beginning and ``"random"`` a
    contiguous window whose start is uniform; both hold the last frame when the clip is too short.

    Args:
        count_available: Frames in the clip, n >= 1.
        count_wanted: Frames to choose, F >= 1.
        mode: How to choose.
        generator: Randomness of ``"random"``; torch's global generator if None.

    Returns:
        F indices in 0..n-1, never decreasing.

    Raises:
        ValueError: If a count is below 1 or the mode is unknown.
    """
    if count_available < 1 or count_wanted < 1:
        message = (
            f"Cannot select {count_wanted} frames of {count_available}: both counts must be at "
            "least 1."
        )
        raise ValueError(message)
    last = count_available - 1
    match mode:
        case "evenly":
            return [int(index) for index in np.linspace(0, last, count_wanted).astype(int)]
        case "first":
            start = 0
        case "random":
            start = _uniform(max(0, count_available - count_wanted) + 1, generator)
        case _:
            message = f"Unknown frame selection {mode!r}. Use one of {get_args(FrameSelection)}."
            raise ValueError(message)
    return [min(start + step, last) for step in range(count_wanted)]


def _uniform(bound: int, generator: torch.Generator | None) -> int:
    """Draw an integer from 0 to ``bound - 1``."""
    import torch

    return int(torch.randint(bound, (1,), generator=generator))
