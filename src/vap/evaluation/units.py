"""Pieces of work that this or another process does: some videos of a system, or some scores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from vap.evaluation.benchmarks.base import media_digest
from vap.evaluation.metrics.base import Metric
from vap.evaluation.plan import Scoring, Task
from vap.evaluation.rows import ScoreRow, VideoRow
from vap.evaluation.systems.base import Outcome, System
from vap.files.errors import MediaError

_SILENT = "The system ended without a video or an error."


@dataclass(frozen=True, slots=True)
class VideoUnit:
    """Videos of one system and variant."""

    system: System
    tasks: tuple[Task, ...]
    folder: Path  # of what the system keeps between runs

    def results(self) -> Iterator[list[VideoRow]]:
        """Rows of what is made, those of a batch together; every task gets one."""
        left = {task.job.output: task for task in self.tasks}
        rows: list[VideoRow] = []
        try:
            for outcome in self.system.run([task.job for task in self.tasks], self.folder):
                task = left.pop(outcome.job.output)
                rows.append(_video_row(task, outcome))
                if len(rows) >= self.system.jobs_at_once:
                    yield rows
                    rows = []
        except Exception as error:  # noqa: BLE001 - whatever it is, the other systems go on
            reason = _reason(error)
        else:
            reason = _SILENT
        lost = [_video_row(task, Outcome(task.job, error=reason)) for task in left.values()]
        if rows or lost:
            yield [*rows, *lost]


@dataclass(frozen=True, slots=True)
class ScoreUnit:
    """Scores of one metric."""

    metric: Metric
    scorings: tuple[Scoring, ...]

    def results(self) -> Iterator[list[ScoreRow]]:
        """Rows of what is scored."""
        for each in self.scorings:
            yield [_score_row(each)]


Unit: TypeAlias = VideoUnit | ScoreUnit


def _video_row(task: Task, outcome: Outcome) -> VideoRow:
    """The row of an outcome; a video that cannot be read is none."""
    sha256, error = None, outcome.error
    if error is None:
        try:
            sha256 = media_digest(task.job.output)
        except (OSError, MediaError) as missing:
            error = f"There is no video: {missing}"
    system, case, seed, variant = task.key
    return VideoRow(
        system,
        case,
        seed,
        variant,
        task.identity,
        task.file,
        sha256,
        round(outcome.seconds, 3),
        outcome.cost,
        error,
        dict(outcome.details),
    )


def _score_row(each: Scoring) -> ScoreRow:
    sample = each.sample
    value, error, details = None, None, {}
    try:
        found = each.metric.score(sample)
        value, details = _finite(found.value), dict(found.details)
    except Exception as failure:  # noqa: BLE001 - whatever it is, the other scores go on
        error = _reason(failure)
    return ScoreRow(
        sample.system,
        sample.case.name,
        sample.seed,
        each.metric.name,
        each.identity,
        each.sha256,
        value,
        error,
        details,
    )


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"The score is {value}.")
    return float(value)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
