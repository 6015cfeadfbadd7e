"""Tables as plain records: CSV with the standard library, Parquet with pyarrow.

pyarrow has a CSV reader too. It saves 0.4 s of 1.5 s for 100K rows (``benchmarks/data_table.py``),
and refuses the whole file for one row with a cell too many, where ``csv`` lets us name the row.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vap.data.rows import TableError
from vap.extras import require
from vap.files.atomic import atomic_file

SUFFIXES = (".csv", ".parquet")
_SEPARATORS = ",;\t"  # the second as spreadsheets write it where "," is the decimal point
_MOST_CELLS = 1_000_000_000  # a small Parquet file may claim any number
_NAMED = 20  # columns that an error names


@dataclass(frozen=True, slots=True)
class Records:
    """A table before its cells are parsed; a CSV row may have too few or too many."""

    columns: tuple[str, ...]  # all different
    rows: Sequence[Sequence[object]]


def read_records(path: Path, required: Sequence[str]) -> Records:
    """Read a ``.csv`` or ``.parquet`` table that has the required columns."""
    table_suffix(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no table at {path}. Give the path of a .csv or .parquet file."
        )
    records = _read_csv(path, required) if table_suffix(path) == ".csv" else _read_parquet(path)
    _check_columns(path, records.columns, required)
    return records


def write_records(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a ``.csv`` or ``.parquet`` table; the file appears whole or not at all.

    Parquet keeps values of any type; in CSV, lists and other compounds become JSON text.
    """
    suffix = table_suffix(path)
    with atomic_file(path) as partial:
        if suffix == ".csv":
            _write_csv(partial, columns, rows)
        else:
            _write_parquet(partial, columns, rows)


def table_suffix(path: Path) -> str:
    """The format of a table by its name: ``".csv"`` or ``".parquet"``."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} is not a table's name: it must end in {' or '.join(SUFFIXES)}.")
    return suffix


def _read_csv(path: Path, required: Sequence[str]) -> Records:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            separator = _separator(file.readline(), required)
            file.seek(0)
            reader = csv.reader(file, delimiter=separator, strict=True)
            columns = next(reader, [])
            rows = [row for row in reader if row]
        except csv.Error as error:
            raise TableError(
                f"{path} is not CSV after line {reader.line_num}: {error}. Check the quotes there."
            ) from error
        except UnicodeDecodeError as error:
            raise TableError(f"{path} is not UTF-8 text ({error}). Save it as UTF-8.") from error
    return Records(tuple(columns), rows)


def _separator(header: str, required: Sequence[str]) -> str:
    """What stands between the columns that must be there; ``,`` if they are not."""
    for separator in _SEPARATORS:
        columns = next(csv.reader([header], delimiter=separator), [])
        if set(required).issubset(columns):
            return separator
    return ","


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        # RFC 4180's line ends: with "\n" alone, csv leaves a lone "\r" in a cell unquoted.
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(columns)
        writer.writerows([_csv_cell(cell) for cell in row] for row in rows)


def _csv_cell(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, list | dict | bool):
        return json.dumps(cell, ensure_ascii=False, default=_plain)
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return _plain(cell)


def _plain(value: object) -> str:
    """A value that JSON has no form for; of bytes the digits, not Python's spelling."""
    return value.hex() if isinstance(value, bytes) else str(value)


def _pyarrow(module: str) -> Any:
    return require(module, extra="data", purpose="read and write Parquet tables")


def _read_parquet(path: Path) -> Records:
    parquet = _pyarrow("pyarrow.parquet")
    try:
        found = parquet.read_metadata(path)
        if (cells := found.num_rows * found.num_columns) > _MOST_CELLS:
            raise TableError(f"{path} has {cells:,} cells; the limit is {_MOST_CELLS:,}. Split it.")
        table = parquet.read_table(path)
        columns = [column.to_pylist() for column in table.columns]
    except (MemoryError, TableError):
        raise
    # Whatever a file makes the library raise, times out of Python's range among it.
    except Exception as error:
        raise TableError(f"{path} is not a readable Parquet file: {error}") from error
    return Records(tuple(table.column_names), list(zip(*columns, strict=True)))


def _write_parquet(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    arrow, parquet = _pyarrow("pyarrow"), _pyarrow("pyarrow.parquet")
    cells = list(zip(*rows, strict=True)) or [()] * len(columns)
    table = arrow.table(
        {name: _arrow_column(arrow, column) for name, column in zip(columns, cells, strict=True)}
    )
    parquet.write_table(table, path, compression="zstd")


def _arrow_column(arrow: Any, column: Sequence[object]) -> Any:
    """A column of the type of its cells; an empty one, or one of empty lists, is of text."""
    kind = None
    filled = next((cell for cell in column if cell is not None), "")
    if isinstance(filled, str):
        kind = arrow.string()
    elif all(
        isinstance(cell, list) and all(isinstance(text, str) for text in cell)
        for cell in column
        if cell is not None
    ):
        kind = arrow.list_(arrow.string())
    try:
        return arrow.array(column, type=kind)
    except (arrow.ArrowException, OverflowError):  # cells of several types, or of none it knows
        return arrow.array([None if cell is None else _csv_cell(cell) for cell in column])


def _check_columns(path: Path, columns: Sequence[str], required: Sequence[str]) -> None:
    if len(set(columns)) != len(columns):
        repeated = sorted(name for name, count in Counter(columns).items() if count > 1)
        raise TableError(
            f"{path} has the columns {_named(repeated)} more than once. Keep one of each."
        )
    missing = [name for name in required if name not in columns]
    if missing:
        raise TableError(
            f"{path} has the columns {_named(columns)} and lacks {missing}. "
            f"The table needs {list(required)}, separated by ',', ';' or tabs."
        )


def _named(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - _NAMED} more" if len(columns) > _NAMED else ""
    return f"{list(columns[:_NAMED])}{more}"
