"""A benchmark from a table: VAP-Data's ``benchmark.csv``, or any with the same columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from vap.data.check import has_file
from vap.data.rows import (
    BENCHMARK_COLUMNS,
    CAPTION,
    REFERENCE,
    REFERENCE_CAPTION,
    VIDEO,
    Problem,
    ProblemKind,
    refuse,
)
from vap.data.table import parse_path, parse_records, parse_text
from vap.data.table_files import read_records
from vap.evaluation.benchmarks.base import Benchmark, selected
from vap.evaluation.case import Case
from vap.files.atomic import atomic_file
from vap.media import read_clip

IMAGE = "image"
"""Column of the image to animate; without it, the first frame of the target is."""

_TEXTS = {
    "condition": "condition",
    "group": "group",
    "category": "group",
    "scene_caption": "scene_prompt",
    "ref_scene_caption": "reference_scene_prompt",
}
"""Further columns that a table may have, and what they are of a case."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the table, with paths as they are written there."""

    number: int
    video: str
    reference: str
    image: str
    texts: dict[str, str]

    @property
    def condition(self) -> str:
        """From its column or, as VAP-Data names them, the folder of the reference."""
        folder = PurePosixPath(self.reference).parent.name
        return self.texts.get("condition") or folder or "reference"

    @property
    def name(self) -> str:
        """Of the case."""
        return f"{self.number:03d}-{file_name(self.condition)}"


def read_cases(
    table: Path,
    *,
    folder: Path,
    root: Path | None = None,
    cases: int | None = None,
    conditions: Sequence[str] = (),
) -> Benchmark:
    """Read a table; all of its media must be there.

    Args:
        table: ``.csv`` or ``.parquet``. ``video_paths`` (the target), ``ref_video_path``,
            ``tar_video_caption`` and ``ref_video_caption`` must be there; ``image``,
            ``condition``, ``group`` (or ``category``), ``scene_caption`` and
            ``ref_scene_caption`` may.
        folder: First frames of targets are written here.
        root: Folder that paths start at; by default the table's, or the one above.
        cases: Use only so many.
        conditions: Use only these.

    Raises:
        TableError: Lists faulty rows, and those whose media are missing.
    """
    records = read_records(table, BENCHMARK_COLUMNS)
    parse = partial(_parse, records.columns, {})
    rows, problems = parse_records(records.rows, len(records.columns), parse)
    root = root or _root(table, rows)
    if problems := (*problems, *_missing(rows, root)):
        raise refuse(str(table), problems, "Correct them, or leave the rows out.")
    by_name = {row.name: row for row in rows}
    found = selected([_case(row, root, folder) for row in rows], cases, conditions, str(table))
    for case in found:
        if not by_name[case.name].image:
            _write_first_frame(root / by_name[case.name].video, case.image)
    return Benchmark(table.stem, found)


def _parse(
    columns: Sequence[str], paths: dict[str, str], cells: Sequence[object], number: int
) -> _Row:
    values = dict(zip(columns, cells, strict=True))
    named = {CAPTION: "prompt", REFERENCE_CAPTION: "reference_prompt", **_TEXTS}
    texts: dict[str, str] = {}
    for column, name in named.items():
        if column in values:
            texts[name] = parse_text(values[column], column) or texts.get(name, "")
    image = values.get(IMAGE)
    return _Row(
        number,
        parse_path(values[VIDEO], VIDEO, paths),
        parse_path(values[REFERENCE], REFERENCE, paths),
        parse_path(image, IMAGE, paths) if image else "",
        texts,
    )


def _root(table: Path, rows: Sequence[_Row]) -> Path:
    """The table's folder or, as in VAP-Data, the one above."""
    near, above = table.absolute().parent, table.absolute().parent.parent
    return above if rows and not has_file(near, rows[0].reference) else near


def _missing(rows: Sequence[_Row], root: Path) -> list[Problem]:
    """Rows whose media are not there."""
    problems = []
    for row in rows:
        paths = [path for path in (row.video, row.reference, row.image) if path]
        if missing := [path for path in paths if not has_file(root, path)]:
            said = f"{missing} not in {root}. Name the folder of the media with --root."
            problems.append(Problem(row.number, ProblemKind.MISSING_FILE, said))
    return problems


def _case(row: _Row, root: Path, folder: Path) -> Case:
    case = Case(
        name=row.name,
        condition=row.condition,
        image=root / row.image if row.image else folder / f"{row.name}.png",
        reference=root / row.reference,
        truth=root / row.video,
    )
    texts: dict[str, Any] = {**row.texts, "condition": row.condition}
    return replace(case, **texts)


def _write_first_frame(video: Path, image: Path) -> None:
    frame = read_clip(video, max_frames=1).frames[0]
    with atomic_file(image) as temporary:
        Image.fromarray(frame).save(temporary, format="PNG")


def file_name(text: str) -> str:
    """A text as part of a file's name."""
    return re.sub(r"[^\w-]+", "-", text).strip("-")[:40] or "case"
