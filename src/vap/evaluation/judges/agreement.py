"""How far a judge agrees with people who picked between videos."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Pick:
    """What a person chose.

    Attributes:
        case: Name of the case.
        chosen: The system whose video was the best.
        others: The systems whose videos were shown beside it.
    """

    case: str
    chosen: str
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often a judge ranks two videos as people did.

    Attributes:
        share: Of the pairs of a chosen video and another, those in which the chosen one has the
            higher score; equal scores count half. Chance is 0.5.
        interval: Where 95 % of the shares of resampled cases lie.
        pairs: How many pairs there are.
    """

    share: float
    interval: tuple[float, float]
    pairs: int


def agreement(scores: Mapping[tuple[str, str], float], picks: Iterable[Pick]) -> Agreement:
    """Compare a judge's scores with people's picks.

    Args:
        scores: The score of each (case, system); pairs without both scores are left out.
        picks: Of any number of people; all cases of a person count.

    Raises:
        ValueError: If no pair has both scores.
    """
    by_case: dict[str, list[float]] = {}
    for pick in picks:
        own = scores.get((pick.case, pick.chosen))
        for other in pick.others:
            theirs = scores.get((pick.case, other))
            if own is not None and theirs is not None:
                by_case.setdefault(pick.case, []).append(float(np.sign(own - theirs)) / 2 + 0.5)
    if not by_case:
        raise ValueError("No pick is between two videos that the judge has scored.")
    # Pairs of one case are not independent, so whole cases are drawn again.
    sums = np.array([[sum(wins), len(wins)] for wins in by_case.values()])
    drawn = np.random.default_rng(0).integers(0, len(sums), (_RESAMPLES, len(sums)))
    resampled = sums[drawn].sum(axis=1)
    low, high = np.quantile(resampled[:, 0] / resampled[:, 1], [0.025, 0.975])
    total = sums.sum(axis=0)
    return Agreement(float(total[0] / total[1]), (float(low), float(high)), int(total[1]))
