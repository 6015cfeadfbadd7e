"""How a clip changes: its motion and its colors, coarse enough to compare different scenes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vap.extras import require
from vap.media.clip import read_clip, select_frames
from vap.media.pixels import RGB

SAMPLED = 17  # frames that are looked at, evenly over the clip
SIDE = 96  # pixels along each side that they are stretched to
_TIMES = 8  # parts of the clip
_GRID = 4  # cells along each side


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """The course of a clip.

    Attributes:
        motion: float32 ``[8, 4, 4, 2]``, flow in each eighth of the time and cell of the frame, in
            shares of width and height: to the right, down.
        appearance: float32 ``[8, 4, 4, 3]``, how far each cell's color is from that of the first
            frame, −1 to 1.
    """

    motion: NDArray[np.float32]
    appearance: NDArray[np.float32]


def change_of(source: str | Path | RGB) -> Change:
    """Measure how a clip changes.

    Args:
        source: What ``vap.media.read_clip`` reads.
    """
    return change_of_frames(sampled_frames(source))


def sampled_frames(source: str | Path | RGB) -> RGB:
    """The frames of a clip that ``change_of`` looks at: ``[17, 96, 96, 3]``."""
    return read_clip(
        source,
        size=(SIDE, SIDE),
        fit="stretch",
        frame_indices=lambda count: select_frames(count, SAMPLED),
    ).frames


def change_of_frames(frames: RGB) -> Change:
    """Measure how frames ``[17, 96, 96, 3]`` change."""
    flow = dis_flow()
    steps = np.stack([flow(*frames[i : i + 2]) for i in range(SAMPLED - 1)])
    cells = _cells(steps).reshape(_TIMES, -1, _GRID, _GRID, 2).sum(axis=1) / SIDE
    colors = _cells(frames.astype(np.float32)) / 255
    appearance = colors[2::2] - colors[0]
    return Change(cells.astype(np.float32), appearance.astype(np.float32))


def agreement(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """How alike two changes are: 1 − |a − b| / (|a| + |b|).

    Returns:
        1 if they are equal, 0 if they are opposite or only one of the two is none.
    """
    lengths = float(np.linalg.norm(first) + np.linalg.norm(second))
    return 1 - float(np.linalg.norm(first - second)) / lengths if lengths else 1.0


def reference_use(
    own: NDArray[np.floating],
    swapped: NDArray[np.floating],
    reference: NDArray[np.floating],
    other: NDArray[np.floating],
) -> float:
    """How much closer two results are to their own references than to each other's.

    Args:
        own: Change of the video made with ``reference``.
        swapped: Of the video made with ``other``, all else equal.
        reference: Of a reference.
        other: Of another reference.

    Returns:
        −1 to 1; 0 if the two results change alike.
    """
    toward_own = agreement(own, reference) - agreement(swapped, reference)
    toward_other = agreement(swapped, other) - agreement(own, other)
    return (toward_own + toward_other) / 2


def dis_flow() -> Callable[[RGB, RGB], NDArray[np.float32]]:
    """OpenCV's DIS flow from one frame ``[H, W, 3]`` to the next: ``[H, W, 2]`` in pixels."""
    cv2 = require("cv2", extra="eval", purpose="compute optical flow")
    model = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def flow(first: RGB, second: RGB) -> NDArray[np.float32]:
        gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, second)]
        return np.asarray(model.calc(*gray, None), np.float32)

    return flow


def _cells(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of ``[T, 96, 96, C]`` in the cells of the grid: ``[T, 4, 4, C]``."""
    cell = SIDE // _GRID
    parted = frames.reshape(len(frames), _GRID, cell, _GRID, cell, frames.shape[-1])
    means: NDArray[np.float32] = parted.mean(axis=(2, 4))
    return means
