"""Find the faults that only the whole table, or its folder, can show.

Checked in Python, 0.15 s for 100K rows, because every fault names its row, its value and a remedy.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from vap.data.rows import KNOWN_SPLITS, ClipRow, OnError, Problem, ProblemKind, refuse
from vap.data.table import Table, read_table


def load_table(
    path: str | Path,
    *,
    root: str | Path | None = None,
    splits: Collection[str] | None = KNOWN_SPLITS,
    on_error: OnError = "refuse",
) -> Table:
    """Read a dataset table and check it: ``read_table``, then ``check_table``.

    Args:
        path: A ``.csv`` or ``.parquet`` file.
        root: Folder that the paths are relative to; None leaves the files unchecked.
        splits: Allowed values of ``split``; None allows any.
        on_error: ``"refuse"`` raises ``TableError`` at any fault; ``"skip"`` leaves it out.
    """
    table = check_table(read_table(path, on_error="skip"), root=root, splits=splits)
    if table.problems and on_error == "refuse":
        raise refuse(str(path), table.problems)
    return table


def check_table(
    table: Table, *, root: str | Path | None = None, splits: Collection[str] | None = KNOWN_SPLITS
) -> Table:
    """Leave out what is faulty, and list it in ``problems``, by row.

    A row is dropped when its path is a duplicate (the first one stays), its split is unknown or its
    file is missing. A reference is dropped when it is the row's own clip, no clip of the table, or
    a clip of another condition; the row stays, as in training (``pairing``). For ``root`` and
    ``splits`` see :func:`load_table`.
    """
    folder = None if root is None else existing_folder(root)
    sound: dict[str, ClipRow] = {}
    problems = list(table.problems)
    for row in table.rows:
        problem = _row_problem(row, sound.get(row.video), folder, splits)
        if problem is None:
            sound[row.video] = row
        else:
            problems.append(problem)
    rows = []
    for row in sound.values():
        found = {path: _reference_problem(path, row, sound.get(path)) for path in row.references}
        faults = {path: problem for path, problem in found.items() if problem is not None}
        problems += faults.values()
        kept = tuple(path for path in row.references if path not in faults)
        rows.append(replace(row, references=kept) if faults else row)
    problems.sort(key=lambda problem: problem.row)
    return Table(tuple(rows), table.extra_columns, tuple(problems))


def existing_folder(root: str | Path) -> Path:
    """The folder that a table's paths start from."""
    folder = Path(root)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no folder {folder}. Give the folder that the table's paths are relative to."
        )
    return folder


def has_file(root: Path, path: str) -> bool:
    """Whether a table's path is a file; one whose name is too long for any is none."""
    try:
        return (root / path).is_file()
    except OSError:
        return False


def _row_problem(
    row: ClipRow, first: ClipRow | None, root: Path | None, splits: Collection[str] | None
) -> Problem | None:
    """The first fault for which a row is dropped; ``first`` is an earlier row of its path."""
    if first is not None:
        message = f"{row.video!r} is already row {first.number}. Keep one of the two."
        return Problem(row.number, ProblemKind.DUPLICATE_PATH, message)
    if splits is not None and row.split not in splits:
        message = f"split={row.split!r} is none of {sorted(splits)}. Correct or allow it."
        return Problem(row.number, ProblemKind.UNKNOWN_SPLIT, message)
    if root is not None and not has_file(root, row.video):
        message = f"{row.video!r} is not in {root}. Download the clip, or remove the row."
        return Problem(row.number, ProblemKind.MISSING_FILE, message)
    return None


def _reference_problem(path: str, row: ClipRow, clip: ClipRow | None) -> Problem | None:
    """The fault of a sound row's reference, of which ``clip`` is the sound row."""
    if path == row.video:
        kind, message = ProblemKind.SELF_REFERENCE, f"{path!r} is its own reference."
    elif clip is None:
        kind = ProblemKind.UNKNOWN_REFERENCE
        message = f"the reference {path!r} is missing from the table, or has an error there."
    elif clip.condition != row.condition:
        kind = ProblemKind.OTHER_CONDITION
        message = f"the reference {path!r} shows {clip.condition!r}, not {row.condition!r}."
    else:
        return None
    return Problem(row.number, kind, message, drops_row=False)
