"""Rotary positions of the CogVideoX variant: the stock grids, and the references beside them."""

from __future__ import annotations

import torch

from vap.models.rope import Grid, ReferencePositions, RotaryTable, reference_grid, rotary_table


def rotary_tables(
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
