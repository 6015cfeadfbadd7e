"""Results: rows by split and by condition, as JSON and as a table for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vap.files.atomic import atomic_file
from vap.mini.evaluation.cases import SPLITS
from vap.mini.evaluation.scores import Score, Summary, summarize
from vap.mini.evaluation.systems import BOUNDS, TITLES

RESULT_FILES = ("results.json", "table.md")
"""The rows for machines and for people."""

_SPLIT_TITLES = {"seen": "seen", "heldout": "held out", "unknown": "unknown"}
_COLUMNS = ("gap closed", "recognized", "first frame")
_NOTHING = ("", "", "")
_ROUNDED = 4
_OURS = "vap"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the results.

    Attributes:
        system: Which system.
        split: Which split.
        condition: Which condition alone; None for all of the split.
        summary: Its scores.
        ours: What VAP closes on the same cases, where the system covers some only; else None.
    """

    system: str
    split: str
    condition: str | None
    summary: Summary
    ours: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        place = {"system": self.system, "split": self.split}
        if self.condition is not None:
            place["condition"] = self.condition
        values = {**place, **{k: _rounded(v) for k, v in asdict(self.summary).items()}}
        return values if self.ours is None else {**values, "vap_on_same": _rounded(self.ours)}

    def cells(self) -> tuple[str, str, str]:
        """Gap closed, share recognized and fidelity of the first frame, for people."""
        summary = self.summary
        recognized = f"{summary.recognized * 100:.0f} %"
        return _number(summary.gap_closed), recognized, f"{summary.first_frame:.1f} dB"


@dataclass(frozen=True, slots=True)
class Report:
    """All results of an evaluation.

    Attributes:
        rows: By system and split.
        conditions: By system, split and condition.
        settings: What decides the scores.
        notes: What a reader has to know, such as systems left out.
    """

    rows: Sequence[Row]
    conditions: Sequence[Row]
    settings: Mapping[str, Any]
    notes: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "rows": [row.as_json() for row in self.rows],
            "conditions": [row.as_json() for row in self.conditions],
            "notes": list(self.notes),
            "settings": dict(self.settings),
        }

    def table(self) -> str:
        """The rows as Markdown, a column for each score of each split."""
        splits = [split for split in SPLITS if any(row.split == split for row in self.rows)]
        cells = {(row.system, row.split): row.cells() for row in self.rows}
        names = [name for name in TITLES if any(row.system == name for row in self.rows)]
        heads = [f"{_SPLIT_TITLES[split]}: {column}" for split in splits for column in _COLUMNS]
        lines = [_line("system", *heads), _line("---", *("---:" for _ in heads))]
        for name in names:
            found = [cells.get((name, split), _NOTHING) for split in splits]
            lines.append(_line(TITLES[name], *(cell for place in found for cell in place)))
        return "\n".join([*lines, *(f"\n{note}" for note in self.notes)]) + "\n"

    def write(self, folder: Path) -> None:
        """Write :data:`RESULT_FILES`."""
        results, table = (folder / name for name in RESULT_FILES)
        write_json(results, self.as_json())
        with atomic_file(table) as temporary:
            temporary.write_text(self.table(), encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write plain values, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def report(
    names: Sequence[str], scores: Sequence[Score], settings: Mapping[str, Any], notes: Sequence[str]
) -> Report:
    """Put all scores together."""
    rows, conditions = [], []
    for split in SPLITS:
        of_split = [score for score in scores if score.split == split]
        for name in names:
            own = [score for score in of_split if score.system == name]
            if not own:
                continue
            rows.append(_row(name, split, None, own, of_split))
            for condition in sorted({score.condition for score in own}):
                these = [score for score in own if score.condition == condition]
                conditions.append(_row(name, split, condition, these, of_split))
    partial = [
        f"{row.system}, {row.split}: on {row.summary.pairs} pairs alone; VAP closes "
        f"{_number(row.ours)} on the same."
        for row in rows
        if row.ours is not None
    ]
    return Report(rows, conditions, settings, [*notes, *partial])


def _row(
    name: str, split: str, condition: str | None, own: Sequence[Score], of_split: Sequence[Score]
) -> Row:
    """A row of a system's scores; ``of_split`` are those of all systems."""
    by_name = {
        bound: [score for score in of_split if score.system == bound] for bound in (*BOUNDS, _OURS)
    }
    static, best, ours = by_name["static"], by_name["vae"], by_name[_OURS]
    places = {score.index for score in own}
    same = [score for score in ours if score.index in places]
    closed = None
    if condition is None and len(places) < len(ours) and len(same) == len(places):
        closed = summarize(same, static, best).gap_closed
    return Row(name, split, condition, summarize(own, static, best), closed)


def _number(value: float | None) -> str:
    """Two digits, with a true minus."""
    return "–" if value is None else f"{value + 0.0:.2f}".replace("-", "−").replace("−0.00", "0.00")


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _ROUNDED) + 0.0
    return [_rounded(part) for part in value] if isinstance(value, tuple) else value
