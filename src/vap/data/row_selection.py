"""Choosing the rows to work with, by one set of rules for filtering and for training."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from vap.data.rows import ClipRow
from vap.data.table import Table

_LISTED = 20  # names that a refusal lists


@dataclass(frozen=True, slots=True)
class SelectionRules:
    """Which rows stay. A row must pass every rule."""

    # Rows with a score above this stay; None keeps every score. The release trains CogVideoX above
    # 5 and Wan above 10.
    above: float | None = None
    splits: frozenset[str] | None = None  # those that stay; None keeps all
    conditions: frozenset[str] | None = None  # those that stay; None keeps all
    without: frozenset[str] = frozenset()  # those that go
    at_most: int | None = None  # rows kept of each condition, the best scored first; None keeps all
    unusable: bool = False  # keep rows whose ``_valid`` is ≤ 0

    def __post_init__(self) -> None:
        if self.above is not None and not math.isfinite(self.above):
            raise ValueError(
                f"above={self.above} is not a score: give a number, or None for every score."
            )
        if self.at_most is not None and self.at_most < 1:
            raise ValueError(
                f"at_most={self.at_most} keeps nothing: give 1 or more, or None for all."
            )

    def reason_against(self, row: ClipRow) -> str | None:
        """Why the row is removed; None if it passes every rule except ``at_most``."""
        if not self.unusable and not row.usable:
            return "_valid ≤ 0"
        if self.splits is not None and row.split not in self.splits:
            return f"split {row.split}"
        if self.conditions is not None and row.condition not in self.conditions:
            return "condition not chosen"
        if row.condition in self.without:
            return "condition excluded"
        if self.above is not None and row.score <= self.above:
            return f"score ≤ {self.above:g}"
        return None


@dataclass(frozen=True, slots=True)
class Selected:
    """Rows that stay, and how many went for which reason."""

    rows: tuple[ClipRow, ...]
    gone: dict[str, int]


def check_names(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse names that no row has, which choose nothing."""
    choices = sorted(set(known))
    for name in names:
        if name not in choices:
            near = difflib.get_close_matches(name, choices, n=1)
            listed = ", ".join(choices[:_LISTED]) + (", …" if len(choices) > _LISTED else "")
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {listed or 'none'}."
            raise ValueError(f"{what} {name!r} is in no row of the table; {hint}")


def select_rows(rows: Iterable[ClipRow], rules: SelectionRules) -> Selected:
    """Keep the rows that pass, in their order."""
    kept: list[ClipRow] = []
    gone: Counter[str] = Counter()
    for row in rows:
        reason = rules.reason_against(row)
        if reason is None:
            kept.append(row)
        else:
            gone[reason] += 1
    if rules.at_most is not None:
        best = _best_of_each_condition(kept, rules.at_most)
        if len(best) < len(kept):
            gone[f"beyond {rules.at_most} of its condition"] = len(kept) - len(best)
        kept = best
    return Selected(tuple(kept), dict(gone))


def filter_table(table: Table, rules: SelectionRules) -> tuple[Table, dict[str, int]]:
    """Select rows and drop the references to clips that went."""
    selected = select_rows(table.rows, rules)
    alive = {row.video for row in selected.rows}
    rows = tuple(
        row
        if alive.issuperset(row.references)
        else replace(row, references=tuple(path for path in row.references if path in alive))
        for row in selected.rows
    )
    return Table(rows, table.extra_columns, table.problems), selected.gone


def _best_of_each_condition(rows: list[ClipRow], count: int) -> list[ClipRow]:
    taken: Counter[str] = Counter()
    best: set[int] = set()
    for index in sorted(
        range(len(rows)), key=lambda index: (-rows[index].score, rows[index].video)
    ):
        if taken[rows[index].condition] < count:
            taken[rows[index].condition] += 1
            best.add(index)
    return [row for index, row in enumerate(rows) if index in best]
