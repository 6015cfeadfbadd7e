"""VAP-Data tables: ``vap_data.csv`` or the same as Parquet, read strictly and written exactly."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from vap.data.rows import (
    CAPTION,
    CLIP_COLUMNS,
    CONDITION,
    MAX_SCORE,
    REFERENCES,
    SCORE,
    SPLIT,
    VALID,
    VIDEO,
    ClipRow,
    OnError,
    Problem,
    ProblemKind,
    refuse,
)
from vap.data.table_files import read_records, write_records

_Row = TypeVar("_Row")
_QUOTED = 60  # characters of a bad cell that its message quotes
_LIST_ADVICE = 'Write [] or a list with double quotes, such as ["a.mp4", "b.mp4"].'
_TRUTH = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a dataset."""

    rows: tuple[ClipRow, ...]
    extra_columns: tuple[str, ...] = ()  # columns that VAP does not know
    problems: tuple[Problem, ...] = field(default=(), compare=False)


class CellError(ValueError):
    """A cell that cannot be understood."""

    def __init__(self, kind: ProblemKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def read_table(path: str | Path, *, on_error: OnError = "refuse") -> Table:
    """Read a dataset table and parse every cell.

    What one row alone cannot show (duplicates, references, files) is for ``check.check_table``.

    Args:
        path: A ``.csv`` or ``.parquet`` file.
        on_error: ``"refuse"`` raises when any row is faulty; ``"skip"`` leaves faulty rows out and
            lists them in ``Table.problems``.

    Raises:
        FileNotFoundError: If there is no such file.
        TableError: If the file as a whole is unreadable, or has faulty rows that are refused.
    """
    path = Path(path)
    records = read_records(path, CLIP_COLUMNS)
    extras = {name: place for place, name in enumerate(records.columns)}
    known = tuple(extras.pop(name) for name in CLIP_COLUMNS)
    parse = partial(_parse_row, known, extras.pop(VALID, None), tuple(extras.values()), {})
    rows, problems = parse_records(records.rows, len(records.columns), parse)
    if problems and on_error == "refuse":
        raise refuse(str(path), problems)
    return Table(rows, tuple(extras), problems)


def write_table(table: Table, path: str | Path) -> None:
    """Write a ``.csv`` or ``.parquet`` table, whole or not at all; read back, it is equal."""
    with_valid = any(row.valid is not None for row in table.rows)
    columns = (*CLIP_COLUMNS, *((VALID,) if with_valid else ()), *table.extra_columns)

    def cells(row: ClipRow) -> list[object]:
        valid = (row.valid,) if with_valid else ()
        named = (row.caption, row.condition, row.split, row.score)
        return [row.video, list(row.references), *named, *valid, *row.extras]

    write_records(Path(path), columns, map(cells, table.rows))


def parse_records(
    records: Sequence[Sequence[object]], width: int, parse: Callable[[Sequence[object], int], _Row]
) -> tuple[tuple[_Row, ...], tuple[Problem, ...]]:
    """Parse every record; one that raises ``CellError`` becomes a problem instead of a row."""
    rows: list[_Row] = []
    problems: list[Problem] = []
    for number, cells in enumerate(records, start=1):
        if len(cells) != width:
            message = f"it has {len(cells)} cells and the header has {width}. Quote cells with ','."
            problems.append(Problem(number, ProblemKind.WRONG_COLUMNS, message))
            continue
        try:
            rows.append(parse(cells, number))
        except CellError as error:
            problems.append(Problem(number, error.kind, str(error)))
    return tuple(rows), tuple(problems)


def _parse_row(
    known: tuple[int, ...],
    valid: int | None,
    extras: tuple[int, ...],
    paths: dict[str, str],
    cells: Sequence[object],
    number: int,
) -> ClipRow:
    """The row of a record whose columns stand at the given places."""
    video, references, caption, condition, split, score = (cells[place] for place in known)
    return ClipRow(
        video=parse_path(video, VIDEO, paths),
        references=_parse_references(references, paths),
        caption=parse_text(caption, CAPTION),
        condition=_parse_name(condition, CONDITION),
        split=_parse_name(split, SPLIT),
        score=_parse_score(score),
        valid=None if valid is None else _parse_valid(cells[valid]),
        extras=tuple([cells[place] for place in extras]),
        number=number,
    )


def parse_path(cell: object, column: str, known: dict[str, str]) -> str:
    """A clip's path: relative to the dataset's root and staying inside it.

    ``./a.mp4`` and ``b//a.mp4`` are ``a.mp4`` and ``b/a.mp4``: a path is a clip's identity. The
    letters stay as they are, to find the file. ``known`` has the checked paths, one copy of each.
    """
    if isinstance(cell, str) and (path := known.get(cell)) is not None:
        return path
    given = path = _parse_name(cell, column)
    parts = path.split("/")
    if parts[0] and ("" in parts or "." in parts):
        parts = [part for part in parts if part not in {"", "."}] or [""]
        path = "/".join(parts)
    if "\\" in path or "\0" in path or ".." in parts or not parts[0] or ":" in parts[0]:
        raise CellError(
            ProblemKind.BAD_PATH,
            f"{column}={_clipped(given)} does not stay inside the dataset: give a path relative to "
            'its root, with "/" and without "..".',
        )
    known[given] = path = known.setdefault(path, path)
    return path


def parse_text(cell: object, column: str) -> str:
    """A text, possibly empty."""
    if cell is None:
        return ""
    if not isinstance(cell, str):
        raise CellError(
            ProblemKind.BAD_TEXT,
            f"{column}={_clipped(cell)} is a {type(cell).__name__}, not a text.",
        )
    if not cell.isascii():
        try:
            cell.encode()
        except UnicodeEncodeError as error:
            raise CellError(
                ProblemKind.BAD_TEXT,
                f"{column}={_clipped(cell)} contains invalid Unicode ({error.reason}).",
            ) from error
    return cell


def _parse_name(cell: object, column: str) -> str:
    text = parse_text(cell, column)
    if not text.strip():
        raise CellError(ProblemKind.MISSING_VALUE, f"{column} is empty. Fill it in.")
    return text


def _parse_references(cell: object, paths: dict[str, str]) -> tuple[str, ...]:
    value = cell
    if cell is None or cell == "":
        return ()
    if isinstance(cell, str):
        try:
            value = json.loads(cell)
        except (ValueError, RecursionError) as error:
            value = _python_list(cell)
            if value is None:
                raise CellError(
                    ProblemKind.BAD_JSON,
                    f"{REFERENCES}={_clipped(cell)} is not JSON ({error}). {_LIST_ADVICE}",
                ) from error
    if not isinstance(value, list):
        raise CellError(
            ProblemKind.BAD_JSON,
            f"{REFERENCES}={_clipped(cell)} is not a JSON list of paths. {_LIST_ADVICE}",
        )
    return tuple([parse_path(path, REFERENCES, paths) for path in value])


def _python_list(cell: str) -> list[object] | None:
    """A list as pandas writes it, with single quotes."""
    try:
        value = ast.literal_eval(cell)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    # Python joins texts that stand side by side, as in a printed array.
    return value if isinstance(value, list) and repr(value) == cell else None


def _parse_score(cell: object) -> float:
    # Spreadsheets that separate columns by ";" write 85,5.
    score = _number(cell.replace(",", ".") if isinstance(cell, str) else cell)
    if score is None or not 0 <= score <= MAX_SCORE:
        raise CellError(
            ProblemKind.BAD_SCORE,
            f"{SCORE}={_clipped(cell)} is not a number from 0 to {MAX_SCORE:.0f}.",
        )
    return score


def _parse_valid(cell: object) -> float | None:
    if cell is None or cell == "":
        return None
    valid = _TRUTH.get(cell.strip().lower()) if isinstance(cell, str) else None
    valid = _number(cell) if valid is None else valid
    if valid is None:
        raise CellError(
            ProblemKind.BAD_VALID,
            f"{VALID}={_clipped(cell)} is not a number. Rows with a value ≤ 0 are dropped.",
        )
    return valid


def _number(cell: object) -> float | None:
    """A finite number, or None. ``float`` also takes ``1_0``, which no table means."""
    if not isinstance(cell, str | int | float) or (isinstance(cell, str) and "_" in cell):
        return None
    try:
        number = float(cell)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _clipped(cell: object) -> str:
    text = repr(cell)
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"
