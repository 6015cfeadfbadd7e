"""Rotary positions of the CogVideoX variant: the stock grids, and the references beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from vap.models.rope import Grid, ReferencePositions, RotaryTable, reference_grid, rotary_table


@dataclass(frozen=True, slots=True)
class TokenGrid:
    """How many tokens a video has along each axis, and on which grid the backbone was trained.

    Attributes:
        frames: Tokens along time.
        rows: Tokens along height.
        columns: Tokens along width.
        base: Rows and columns of the training size that the positions are fitted into
            ("linspace" grids, CogVideoX 1.0); None to count tokens ("slice" grids, 1.5).
    """

    frames: int
    rows: int
    columns: int
    base: tuple[int, int] | None


def token_grid(config: Any, size: tuple[int, int, int]) -> TokenGrid:
    """Token grid of a video of latent size (frames, height, width) under a transformer's config."""
    frames, height, width = size
    patch, patch_frames = config.patch_size, config.patch_size_t
    base = (config.sample_height // patch, config.sample_width // patch)
    return TokenGrid(
        frames=-(-frames // (patch_frames or 1)),
        rows=height // patch,
        columns=width // patch,
        base=base if patch_frames is None else None,
    )


def rotary_tables(
    grid: TokenGrid,
    head_dim: int,
    *,
    references: int = 0,
    mode: ReferencePositions = "before",
    device: torch.device | None = None,
) -> tuple[RotaryTable, RotaryTable | None]:
    """Rotary tables of the target and of all references, as the stock pipeline makes the target's.

    Returns:
        Cosines and sines of the target ``[N, d]`` and of the references ``[R·N, d]``, first
        reference first; None without references.
    """
    dims = (head_dim // 4, head_dim // 8 * 3, head_dim // 8 * 3)
    target = _positions(grid, device)
    tables = [
        rotary_table(reference_grid(target, index, references, mode), dims)
        for index in range(references)
    ]
    if not tables:
        return rotary_table(target, dims), None
    cosines, sines = zip(*tables, strict=True)
    return rotary_table(target, dims), (torch.cat(cosines), torch.cat(sines))


def _positions(grid: TokenGrid, device: torch.device | None) -> Grid:
    """Positions of the target's tokens."""
    time = torch.arange(grid.frames, device=device, dtype=torch.float32)
    if grid.base is None:
        rows = torch.arange(grid.rows, device=device, dtype=torch.float32)
        columns = torch.arange(grid.columns, device=device, dtype=torch.float32)
        return Grid(time, rows, columns)
    (top, bottom), (left, right) = _fit(grid.rows, grid.columns, *grid.base)
    return Grid(
        time, _axis(top, bottom, grid.rows, device), _axis(left, right, grid.columns, device)
    )


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
