"""Bootstrap intervals over cases; they repeat, and resamples of systems are paired."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from vap.evaluation.metrics.base import Metric

RESAMPLES = 1000
FEWEST = 5
"""Cases that an interval needs."""

Values = NDArray[np.float64]
Bounds = Mapping[str, Values]


def combined(metric: Metric, values: Values, bounds: Bounds) -> float | None:
    """The number of a system; None if there is none."""
    if len(values) == 0:
        return None
    number = metric.combine(values, bounds)
    return number if np.isfinite(number) else None


def resampled(metric: Metric, values: Values, bounds: Bounds) -> Values | None:
    """The numbers of 1000 resamples of the cases ``[1000]``; None of too few cases."""
    count = len(values)
    if count < FEWEST:
        return None
    if type(metric).combine is Metric.combine:
        return values[_drawn(count)].mean(axis=1)
    numbers = np.array(
        [
            metric.combine(values[drawn], {name: each[drawn] for name, each in bounds.items()})
            for drawn in _drawn(count)
        ]
    )
    return numbers if np.isfinite(numbers).all() else None


def interval(numbers: Values | None) -> tuple[float, float] | None:
    """Where 95 % of the resamples lie."""
    if numbers is None:
        return None
    low, high = np.quantile(numbers, [0.025, 0.975])
    return float(low), float(high)


def cases_needed(difference: float, numbers: Values, count: int) -> int | None:
    """Cases after which the interval of such a difference would leave 0 out; None if none do."""
    error = float(np.std(numbers))
    if difference == 0:
        return None
    return max(2, int(np.ceil(count * (1.96 * error / difference) ** 2)))


@cache
def _drawn(count: int) -> NDArray[np.int64]:
    """Places of the cases of each resample ``[1000, N]``, the same for all systems."""
    drawn: NDArray[np.int64] = np.random.default_rng(0).integers(0, count, (RESAMPLES, count))
    return drawn
