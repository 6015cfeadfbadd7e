"""The benchmark table: cases of an input image, a reference video and both captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from vap.data.check import existing_folder, has_file
from vap.data.rows import (
    BENCHMARK_COLUMNS,
    CAPTION,
    REFERENCE,
    REFERENCE_CAPTION,
    VIDEO,
    BenchmarkRow,
    OnError,
    Problem,
    ProblemKind,
    refuse,
)
from vap.data.table import parse_path, parse_records, parse_text
from vap.data.table_files import read_records, write_records


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Cases of a benchmark, and the faults found on the way to them."""

    cases: tuple[BenchmarkRow, ...]
    problems: tuple[Problem, ...] = field(default=(), compare=False)


def read_benchmark(path: str | Path, *, on_error: OnError = "refuse") -> Benchmark:
    """Read ``benchmark.csv`` or the same as Parquet; unknown columns are ignored.

    ``on_error`` is that of :func:`vap.data.table.read_table`.
    """
    path = Path(path)
    records = read_records(path, BENCHMARK_COLUMNS)
    positions = tuple(records.columns.index(name) for name in BENCHMARK_COLUMNS)
    parse = partial(_parse_case, positions, {})
    cases, problems = parse_records(records.rows, len(records.columns), parse)
    if problems and on_error == "refuse":
        raise refuse(str(path), problems)
    return Benchmark(cases, problems)


def check_benchmark(benchmark: Benchmark, root: str | Path) -> Benchmark:
    """Leave out the cases whose target or reference is missing, and say which."""
    folder = existing_folder(root)
    cases: list[BenchmarkRow] = []
    problems = list(benchmark.problems)
    for case in benchmark.cases:
        missing = [path for path in (case.video, case.reference) if not has_file(folder, path)]
        if missing:
            message = f"{missing} not in {folder}. Download the clips, or remove the case."
            problems.append(Problem(case.number, ProblemKind.MISSING_FILE, message))
        else:
            cases.append(case)
    return Benchmark(tuple(cases), tuple(sorted(problems, key=lambda problem: problem.row)))


def write_benchmark(cases: Sequence[BenchmarkRow], path: str | Path) -> None:
    """Write a benchmark table; reading it back gives equal cases."""
    cells = ([row.video, row.reference, row.caption, row.reference_caption] for row in cases)
    write_records(Path(path), BENCHMARK_COLUMNS, cells)


def _parse_case(
    positions: Sequence[int], paths: dict[str, str], cells: Sequence[object], number: int
) -> BenchmarkRow:
    video, reference, caption, reference_caption = (cells[position] for position in positions)
    return BenchmarkRow(
        parse_path(video, VIDEO, paths),
        parse_path(reference, REFERENCE, paths),
        parse_text(caption, CAPTION),
        parse_text(reference_caption, REFERENCE_CAPTION),
        number,
    )
