"""Temporally biased rotary embedding (paper section 3.3).

The target keeps its frames 0 … F−1; references are put before it in time, at −R·F … −1, so that no
mapping from pixel to pixel can be read into shared positions. Other modes are ablations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from torch import nn

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


class WanReferenceRotaryEmbedding(nn.Module):
    """Rotary tables of the reference videos, placed by the temporal bias."""

    def __init__(self, head_dim: int, patch_size: tuple[int, int, int]) -> None:
        super().__init__()
        space = 2 * (head_dim // 6)
        self.dims = (head_dim - 2 * space, space, space)
        self.patch_size = patch_size

    def forward(self, reference: torch.Tensor, mode: ReferencePositions) -> RotaryTable:
        """Tables for latents ``[B, R, C, F, H, W]``: cosines and sines ``[R, N, 1, d]``."""
        count = reference.shape[1]
        # As stock, angles are float64, which not every accelerator has.
        axes = [
            torch.arange(size // patch, device="cpu")
            for size, patch in zip(reference.shape[3:], self.patch_size, strict=True)
        ]
        target = Grid(*axes)
        tables = [
            rotary_table(reference_grid(target, i, count, mode), self.dims, torch.float64)
            for i in range(count)
        ]
        cosines, sines = zip(*tables, strict=True)
        cosine, sine = (
            torch.stack(table).unsqueeze(2).to(reference.device) for table in (cosines, sines)
        )
        return cosine, sine


def cogvideox_rotary_tables(
    cells: tuple[int, int, int],
    base: tuple[int, int] | None,
    head_dim: int,
    *,
    references: int = 0,
    mode: ReferencePositions = "before",
    device: torch.device | None = None,
) -> tuple[RotaryTable, RotaryTable | None]:
    """Tables of the target ``[N, d]`` and of R references ``[R·N, d]``, as the stock pipeline's.

    ``cells`` are tokens along time, height and width; ``base`` the rows and columns of the training
    size that they are fitted into (CogVideoX 1.0), None to count tokens (1.5).
    """
    dims = (head_dim // 4, head_dim // 8 * 3, head_dim // 8 * 3)
    frames, rows, columns = cells
    (top, bottom), (left, right) = _fit(rows, columns, *(base or (rows, columns)))
    target = Grid(
        torch.arange(frames, device=device, dtype=torch.float32),
        _axis(top, bottom, rows, device),
        _axis(left, right, columns, device),
    )
    tables = [
        rotary_table(reference_grid(target, index, references, mode), dims)
        for index in range(references)
    ]
    if not tables:
        return rotary_table(target, dims), None
    cosines, sines = zip(*tables, strict=True)
    return rotary_table(target, dims), (torch.cat(cosines), torch.cat(sines))


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


def _fit(
    rows: int, columns: int, base_rows: int, base_columns: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Scale a grid to the largest that fits the base grid, center it, and give its edges there."""
    if rows / columns > base_rows / base_columns:
        height, width = base_rows, round(base_rows / rows * columns)
    else:
        height, width = round(base_columns / columns * rows), base_columns
    top, left = round((base_rows - height) / 2), round((base_columns - width) / 2)
    return (top, top + height), (left, left + width)


def _axis(start: int, stop: int, count: int, device: torch.device | None) -> torch.Tensor:
    """Positions of ``count`` tokens between two edges."""
    # Not start + (stop - start)·(count - 1)/count: the backbone was trained with this last value.
    last = stop * (count - 1) / count
    return torch.linspace(start, last, count, device=device, dtype=torch.float32)
