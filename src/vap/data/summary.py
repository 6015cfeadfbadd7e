"""A dataset in numbers: clips, conditions, splits, scores.

Counted in Python, 0.17 s for 100K rows: pyarrow takes 0.05 s, but CSV tables need no extra.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vap.data.rows import SCORE_BINS, ClipRow, score_bin


@dataclass(frozen=True, slots=True)
class ConditionSummary:
    """One condition in numbers."""

    name: str
    clips: int
    splits: dict[str, int]
    mean_score: float
    histogram: tuple[int, ...]  # clips in each of ten equal bins of the score
    without_reference: int


@dataclass(frozen=True, slots=True)
class Summary:
    """A dataset in numbers.

    Attributes:
        clips: Rows.
        splits: Rows of each split.
        unusable: Rows whose ``_valid`` is ≤ 0.
        without_caption: Rows with an empty caption.
        without_reference: Rows that list no reference.
        references: Mean number of references listed.
        mean_score: Mean score, 0 to 100; 0 for an empty table.
        histogram: Rows in each of ten equal bins of the score.
        conditions: Each condition, by name.
    """

    clips: int
    splits: dict[str, int]
    unusable: int
    without_caption: int
    without_reference: int
    references: float
    mean_score: float
    histogram: tuple[int, ...]
    conditions: tuple[ConditionSummary, ...]


def summarize(rows: Sequence[ClipRow]) -> Summary:
    """Count a dataset."""
    by_condition: dict[str, list[ClipRow]] = defaultdict(list)
    for row in rows:
        by_condition[row.condition].append(row)
    return Summary(
        **_counts(rows),
        unusable=sum(not row.usable for row in rows),
        without_caption=sum(not row.caption.strip() for row in rows),
        references=statistics.fmean(len(row.references) for row in rows) if rows else 0.0,
        conditions=tuple(
            ConditionSummary(name=name, **_counts(by_condition[name]))
            for name in sorted(by_condition)
        ),
    )


def score_histogram(rows: Sequence[ClipRow]) -> tuple[int, ...]:
    """Clips in each of ten equal bins of the score, 0 to 100."""
    counts = Counter(score_bin(row.score) for row in rows)
    return tuple(counts[index] for index in range(SCORE_BINS))


def _counts(rows: Sequence[ClipRow]) -> dict[str, Any]:
    """What is counted of a dataset and of each condition."""
    return {
        "clips": len(rows),
        "splits": dict(sorted(Counter(row.split for row in rows).items())),
        "mean_score": statistics.fmean(row.score for row in rows) if rows else 0.0,
        "histogram": score_histogram(rows),
        "without_reference": sum(not row.references for row in rows),
    }
