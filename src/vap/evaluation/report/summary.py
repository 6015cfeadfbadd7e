"""Put the scores of a run together: by system, by group, by condition, and in pairs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vap.evaluation.case import Case
from vap.evaluation.metrics.base import Metric
from vap.evaluation.report.bootstrap import (
    Bounds,
    Values,
    cases_needed,
    combined,
    interval,
    resampled,
)
from vap.evaluation.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class Number:
    """A system's number in a metric.

    Attributes:
        system: Name of the system.
        metric: Name of the metric.
        group: Of the cases; None for all of them.
        condition: Of the cases; None for all of the group.
        value: None where there is none.
        interval: Where 95 % of the bootstrap resamples of the cases lie; None of few cases.
        cases: How many cases have a score.
        reason: Why there is no value.
    """

    system: str
    metric: str
    group: str | None
    condition: str | None
    value: float | None
    interval: tuple[float, float] | None
    cases: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """A system's number less that of another, over the cases that both have.

    Attributes:
        system: The one.
        other: The other.
        metric: Name of the metric.
        value: The difference.
        interval: Of the paired bootstrap.
        cases: Cases that both have.
        distinguishable: Whether the interval leaves 0 out.
        cases_needed: Cases after which it would, were the difference as it is.
    """

    system: str
    other: str
    metric: str
    value: float
    interval: tuple[float, float] | None
    cases: int
    distinguishable: bool
    cases_needed: int | None


@dataclass(frozen=True, slots=True)
class Effort:
    """What the videos of a system took.

    Attributes:
        system: Name of the system.
        videos: That there are, variants among them.
        failed: That there are not.
        seconds: Mean time to make one.
        cost: Of all of them, in the unit of the service.
    """

    system: str
    videos: int
    failed: int
    seconds: float
    cost: float


@dataclass(frozen=True, slots=True)
class Results:
    """All that a run came to.

    Attributes:
        efforts: What the videos of each system took.
        numbers: Of all cases, then by group, then by condition.
        differences: Of every pair of systems, over all cases.
        failures: Sentences on videos and scores that there are not.
    """

    efforts: tuple[Effort, ...]
    numbers: tuple[Number, ...]
    differences: tuple[Difference, ...]
    failures: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def summarize(run: RunFolder) -> Results:
    """Put all scores of a run together."""
    table = _Table(run)
    groups = list(dict.fromkeys(case.group for case in run.cases))
    parts: list[tuple[str | None, str | None]] = [(None, None)]
    parts += [(group, None) for group in groups if len(groups) > 1]
    places = dict.fromkeys((case.group, case.condition) for case in run.cases)
    parts += [(group, condition) for group, condition in places if len(places) > 1]
    numbers = [
        table.number(system.name, metric, group, condition)
        for group, condition in parts
        for system in run.systems
        for metric in run.metrics
    ]
    names = [system.name for system in run.systems]
    pairs = [(one, other) for place, other in enumerate(names) for one in names[place + 1 :]]
    differences = [
        found
        for metric in run.metrics
        for one, other in pairs
        if (found := table.difference(one, other, metric)) is not None
    ]
    efforts = tuple(_effort(run, system.name) for system in run.systems)
    return Results(efforts, tuple(numbers), tuple(differences), tuple(_failures(run)))


def by_case(run: RunFolder, metric: Metric) -> dict[tuple[str, str], float]:
    """A metric's number of each system and single case, where there is one."""
    table = _Table(run)
    found = {
        (system.name, case.name): table.value_of(system.name, metric, case)
        for system in run.systems
        for case in run.cases
    }
    return {place: value for place, value in found.items() if value is not None}


class _Table:
    """Scores by system, metric and case: the mean over the seeds."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._drawn: dict[tuple[str, str, tuple[str, ...]], Values | None] = {}
        found: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for row in run.scores:
            if row.value is not None:
                found[row.system, row.metric][row.case].append(row.value)
        self._scores = {
            place: {case: float(np.mean(values)) for case, values in cases.items()}
            for place, cases in found.items()
        }

    def number(
        self, system: str, metric: Metric, group: str | None, condition: str | None
    ) -> Number:
        """The number of a system over some cases."""
        cases = [
            case
            for case in self._run.cases
            if group in {None, case.group} and condition in {None, case.condition}
        ]
        scores, bounds = self._scores_of(system, metric), self._bounds_of(metric)
        shared = _shared(cases, [scores, *bounds.values()])
        values, limits = _values(scores, shared), _limits(bounds, shared)
        value = combined(metric, values, limits)
        return Number(
            system,
            metric.name,
            group,
            condition,
            value,
            interval(self._resampled(system, metric, shared)),
            len(shared),
            "" if value is not None else self._reason(system, metric, cases, scores),
        )

    def value_of(self, system: str, metric: Metric, case: Case) -> float | None:
        """The number of a system in one case."""
        scores, bounds = self._scores_of(system, metric), self._bounds_of(metric)
        shared = _shared([case], [scores, *bounds.values()])
        return combined(metric, _values(scores, shared), _limits(bounds, shared))

    def difference(self, one: str, other: str, metric: Metric) -> Difference | None:
        """The difference of two systems over the cases that both have."""
        mine, theirs = self._scores_of(one, metric), self._scores_of(other, metric)
        bounds = self._bounds_of(metric)
        shared = _shared(self._run.cases, [mine, theirs, *bounds.values()])
        limits = _limits(bounds, shared)
        values = [_values(scores, shared) for scores in (mine, theirs)]
        first, second = (combined(metric, each, limits) for each in values)
        if first is None or second is None:
            return None
        mine_drawn, theirs_drawn = (self._resampled(name, metric, shared) for name in (one, other))
        span, needed = None, None
        if mine_drawn is not None and theirs_drawn is not None:
            spread = mine_drawn - theirs_drawn
            span = interval(spread)
            needed = cases_needed(first - second, spread, len(shared))
        apart = span is not None and not span[0] <= 0 <= span[1]
        return Difference(one, other, metric.name, first - second, span, len(shared), apart, needed)

    def _resampled(self, system: str, metric: Metric, names: Sequence[str]) -> Values | None:
        """Numbers of resamples of these cases; kept, as every pair needs them."""
        place = (system, metric.name, tuple(names))
        if place not in self._drawn:
            values = _values(self._scores_of(system, metric), names)
            self._drawn[place] = resampled(metric, values, _limits(self._bounds_of(metric), names))
        return self._drawn[place]

    def _scores_of(self, system: str, metric: Metric) -> Mapping[str, float]:
        return self._scores.get((system, metric.name), {})

    def _bounds_of(self, metric: Metric) -> dict[str, Mapping[str, float]]:
        """Scores of the systems that a metric compares with, by kind."""
        by_kind = {system.kind: system.name for system in reversed(self._run.systems)}
        return {
            kind: self._scores_of(by_kind[kind], metric) if kind in by_kind else {}
            for kind in metric.bounds
        }

    def _reason(
        self, system: str, metric: Metric, cases: Sequence[Case], scores: Mapping[str, float]
    ) -> str:
        """Why a system has no number."""
        if metric.name in self._run.unusable:
            return self._run.unusable[metric.name]
        names = {case.name for case in cases}
        if names & scores.keys():
            bounds = " and ".join(metric.bounds)
            return f"needs scores of {bounds} between which there is room"
        rows = [row for row in self._run.scores if row.system == system]
        errors = [row.error for row in rows if row.metric == metric.name and row.case in names]
        if said := next((error for error in errors if error), None):
            return said
        videos = [row for row in self._run.videos if row.system == system and row.case in names]
        if said := next((row.error for row in videos if row.error), None):
            return said
        return "does not apply to these cases" if videos else "the system does not cover these"


def _shared(cases: Sequence[Case], scores: Sequence[Mapping[str, float]]) -> list[str]:
    return [case.name for case in cases if all(case.name in each for each in scores)]


def _values(scores: Mapping[str, float], names: Sequence[str]) -> Values:
    return np.array([scores[name] for name in names], np.float64)


def _limits(bounds: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> Bounds:
    return {kind: _values(scores, names) for kind, scores in bounds.items()}


def _effort(run: RunFolder, system: str) -> Effort:
    rows = [row for row in run.videos if row.system == system]
    made = [row for row in rows if row.error is None]
    seconds = float(np.mean([row.seconds for row in made])) if made else 0.0
    cost = sum(row.cost for row in rows)
    return Effort(system, len(made), len(rows) - len(made), seconds, cost)


def _failures(run: RunFolder) -> list[str]:
    """How many videos and scores failed, and the reason of the first."""
    said = []
    for what, rows in (("videos", run.videos), ("scores", run.scores)):
        failed = [row for row in rows if row.error is not None]
        for system, count in Counter(row.system for row in failed).items():
            first = next(row for row in failed if row.system == system)
            said.append(f"{system}: {count} {what} failed; {first.case}: {first.error}")
    return said
