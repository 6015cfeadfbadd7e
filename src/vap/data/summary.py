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
    splits: dict[str, int]  # clips of each
    mean_score: float
    histogram: tuple[int, ...]  # clips in each of ten equal bins of the score
    without_reference: int


@dataclass(frozen=True, slots=True)
class Summary:
    """A dataset in numbers."""

    clips: int
    splits: dict[str, int]
    unusable: int  # rows whose ``_valid`` is ≤ 0
    without_caption: int
    without_reference: int
    references: float  # listed by a row on average
    mean_score: float  # 0 for an empty table
    histogram: tuple[int, ...]
    conditions: tuple[ConditionSummary, ...]  # by name


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


def _counts(rows: Sequence[ClipRow]) -> dict[str, Any]:
    """What is counted of a dataset and of each condition."""
    bins = Counter(score_bin(row.score) for row in rows)
    return {
        "clips": len(rows),
        "splits": dict(sorted(Counter(row.split for row in rows).items())),
        "mean_score": statistics.fmean(row.score for row in rows) if rows else 0.0,
        "histogram": tuple(bins[index] for index in range(SCORE_BINS)),
        "without_reference": sum(not row.references for row in rows),
    }
