"""Temporally biased rotary embedding (paper section 3.3).

The target keeps its frames 0 … F−1; references are put before it in time, at −R·F … −1, so that no
mapping from pixel to pixel can be read into shared positions. Other modes are ablations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from diffusers.models.embeddings import get_1d_rotary_pos_embed

ReferencePositions: TypeAlias = Literal["before", "shared", "height", "width", "discrete"]
RotaryTable: TypeAlias = tuple[torch.Tensor, torch.Tensor]

_DISCRETE_START, _DISCRETE_STRIDE = 50, 30


@dataclass(frozen=True, slots=True)
class Grid:
    """Positions of one video's tokens: time ``[F]``, height ``[H]``, width ``[W]``."""

    time: torch.Tensor
    height: torch.Tensor
    width: torch.Tensor


def check_reference_positions(mode: str) -> None:
    """Refuse an unknown placement of the references."""
    if mode not in get_args(ReferencePositions):
        allowed = ", ".join(get_args(ReferencePositions))
        message = f"reference_positions={mode!r} is unknown. Use one of: {allowed}."
        raise ValueError(message)


def reference_grid(target: Grid, index: int, count: int, mode: ReferencePositions) -> Grid:
    """Positions of reference ``index`` of ``count``, for a target that starts at the origin.

    ``before``: frames −R·F … −1 in order (the released model). ``shared``: no bias.
    ``height``/``width``: the same shift along an axis of space. ``discrete``: frames from
    50 + 30·index on, after the target, with gaps.
    """
    check_reference_positions(mode)
    time, height, width = target.time, target.height, target.width
    steps_back = count - index
    if mode == "before":
        time = time - steps_back * len(time)
    elif mode == "height":
        height = height - steps_back * _span(height)
    elif mode == "width":
        width = width - steps_back * _span(width)
    elif mode == "discrete":
        time = time + (_DISCRETE_START + _DISCRETE_STRIDE * index)
    return Grid(time, height, width)


def rotary_table(
    grid: Grid, dims: tuple[int, int, int], frequency_dtype: torch.dtype = torch.float32
) -> RotaryTable:
    """Cosines and sines ``[N, sum(dims)]`` of a grid, pairs interleaved, θ = 10000.

    ``dims`` are the channels of a head that turn with time, height and width; tokens are in that
    order. Angles are float64 in Wan and float32 in CogVideoX.
    """
    tables = [
        get_1d_rotary_pos_embed(
            dim, positions.to(frequency_dtype), use_real=True, freqs_dtype=frequency_dtype
        )
        for dim, positions in zip(dims, (grid.time, grid.height, grid.width), strict=True)
    ]
    cosines, sines = zip(*tables, strict=True)
    return _outer(cosines), _outer(sines)


def _outer(parts: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Spread per-axis tables ``[F, t]``, ``[H, h]``, ``[W, w]`` over the grid: ``[N, t+h+w]``."""
    time, height, width = parts
    frames, rows, columns = len(time), len(height), len(width)
    spread = [
        time[:, None, None, :].expand(frames, rows, columns, -1),
        height[None, :, None, :].expand(frames, rows, columns, -1),
        width[None, None, :, :].expand(frames, rows, columns, -1),
    ]
    return torch.cat(spread, dim=-1).reshape(frames * rows * columns, -1)


def _span(positions: torch.Tensor) -> float:
    """Length that a row of evenly spaced positions covers, its last cell included."""
    if len(positions) == 1:
        return 1.0
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    return float(step * len(positions))
