"""Find the faults that only the whole table, or its folder, can show.

Checked in Python, 0.15 s for 100K rows, because every fault names its row, its value and a remedy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
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
        on_error: ``"refuse"`` raises at any fault; ``"skip"`` leaves out what is faulty.

    Raises:
        FileNotFoundError: If there is no such table or root.
        TableError: If the table is unreadable, or has faults that are refused.
    """
    table = check_table(read_table(path, on_error="skip"), root=root, splits=splits)
    if table.problems and on_error == "refuse":
        raise refuse(str(path), table.problems)
    return table


def check_table(
    table: Table, *, root: str | Path | None = None, splits: Collection[str] | None = KNOWN_SPLITS
) -> Table:
    """Leave out what is faulty, and list it.

    A row is dropped when its path is a duplicate (the first one stays), its split is unknown or its
    file is missing. A reference is dropped when it is the row's own clip, no clip of the table, or
    a clip of another condition; the row stays, as in training (``pairing``).

    Args:
        table: The rows read.
        root: Folder that the paths are relative to; None leaves the files unchecked.
        splits: Allowed values of ``split``; None allows any.

    Returns:
        The sound rows with their sound references; ``problems`` holds the earlier faults of
        ``table`` and those found here, by row.

    Raises:
        FileNotFoundError: If ``root`` is not a folder.
    """
    folder = None if root is None else existing_folder(root)
    checker = _Checker(folder, None if splits is None else frozenset(splits), {})
    problems = list(table.problems)
    for row in table.rows:
        problem = checker.row_problem(row)
        if problem is None:
            checker.sound[row.video] = row
        else:
            problems.append(problem)
    rows = []
    for row in checker.sound.values():
        faults = dict(checker.reference_problems(row))
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
            f"There is no folder {folder}. Give the folder that the table's paths start from."
        )
    return folder


def has_file(root: Path, path: str) -> bool:
    """Whether a table's path is a file; one whose name is too long for any is none."""
    try:
        return (root / path).is_file()
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class _Checker:
    root: Path | None
    splits: frozenset[str] | None
    sound: dict[str, ClipRow]

    def row_problem(self, row: ClipRow) -> Problem | None:
        """The first fault for which the row is dropped."""
        if (first := self.sound.get(row.video)) is not None:
            message = f"{row.video!r} is already row {first.number}. Keep one of the two."
            return Problem(row.number, ProblemKind.DUPLICATE_PATH, message)
        if self.splits is not None and row.split not in self.splits:
            message = f"split={row.split!r} is none of {sorted(self.splits)}. Correct or allow it."
            return Problem(row.number, ProblemKind.UNKNOWN_SPLIT, message)
        if self.root is not None and not has_file(self.root, row.video):
            message = f"{row.video!r} is not in {self.root}. Fetch the clip or drop the row."
            return Problem(row.number, ProblemKind.MISSING_FILE, message)
        return None

    def reference_problems(self, row: ClipRow) -> Iterator[tuple[str, Problem]]:
        """Faulty references of a sound row, each with its fault."""
        for path in row.references:
            if path == row.video:
                kind, message = ProblemKind.SELF_REFERENCE, f"{path!r} is its own reference."
            elif (clip := self.sound.get(path)) is None:
                kind = ProblemKind.UNKNOWN_REFERENCE
                message = f"the reference {path!r} is no sound clip of the table."
            elif clip.condition != row.condition:
                kind = ProblemKind.OTHER_CONDITION
                message = f"the reference {path!r} shows {clip.condition!r}, not {row.condition!r}."
            else:
                continue
            yield path, Problem(row.number, kind, message, drops_row=False)
