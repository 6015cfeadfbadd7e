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
    contiguous window whose start is uniform; both repeat the last frame when the clip is too short.

    Args:
        count_available: Frames in the clip, n >= 1.
        count_wanted: Frames to choose, F >= 1.
        mode: How to choose.
        generator: For ``"random"``; torch's global generator if None.

    Returns:
        F indices in 0..n-1, never decreasing.

    Raises:
        ValueError: If a count is below 1 or the mode is unknown.
    """
    if count_available < 1 or count_wanted < 1:
        raise ValueError(
            f"Cannot select {count_wanted} frames of {count_available}: both must be at least 1."
        )
    last = count_available - 1
    start = 0
    match mode:
        case "evenly":
            return [int(index) for index in np.linspace(0, last, count_wanted).astype(int)]
        case "random":
            import torch

            starts = max(0, count_available - count_wanted) + 1
            start = int(torch.randint(starts, (1,), generator=generator))
        case "first":
            pass
        case _:
            raise ValueError(
                f"Unknown frame selection {mode!r}. Use one of {get_args(FrameSelection)}."
            )
    return [min(start + step, last) for step in range(count_wanted)]
