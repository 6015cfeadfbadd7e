"""How far metrics, a judge's among them, rank videos as raters did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vap.evaluation.journal import Journal
from vap.evaluation.rows import ScoreRow
from vap.evaluation.run import SCORES
from vap.evaluation.study.store import NONE, Answer

_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Pick:
    """What a rater chose.

    Attributes:
        case: Name of the case.
        seed: Of the noise.
        chosen: The system whose video was the best.
        others: The systems whose videos were shown beside it.
    """

    case: str
    seed: int
    chosen: str
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often a metric ranks two videos as raters did.

    Attributes:
        share: Of the pairs of a chosen video and another, those in which the chosen one has the
            higher score; equal scores count half. Chance is 0.5.
        interval: Where 95 % of the shares of resampled cases lie.
        pairs: How many pairs there are.
    """

    share: float
    interval: tuple[float, float]
    pairs: int


def metric_agreement(
    folder: Path, answers: Sequence[Answer], question: str = "semantics"
) -> dict[str, Agreement]:
    """Compare all metrics of a run with the answers of its study.

    Args:
        folder: Of the run.
        answers: Of its study; attention checks and picks of none are left out.
        question: ``semantics`` or ``quality``.

    Returns:
        By name of the metric; those that scored no pair are left out.
    """
    picks = [
        Pick(each.case, each.seed, chosen, tuple(set(each.shown) - {chosen}))
        for each in answers
        if not each.is_check and (chosen := getattr(each, question)) != NONE
    ]
    scores: dict[str, dict[tuple[str, int, str], float]] = {}
    for row in Journal(folder / SCORES, ScoreRow).rows.values():
        if row.value is not None:
            scores.setdefault(row.metric, {})[row.case, row.seed, row.system] = row.value
    found = {name: agreement(own, picks) for name, own in scores.items()}
    return {name: each for name, each in found.items() if each is not None}


def agreement(
    scores: Mapping[tuple[str, int, str], float], picks: Iterable[Pick]
) -> Agreement | None:
    """Compare scores with picks; None if no pair has both scores.

    Args:
        scores: The score of each (case, seed, system); higher is better.
        picks: Of any number of raters.
    """
    by_case: dict[str, list[float]] = {}
    for pick in picks:
        own = scores.get((pick.case, pick.seed, pick.chosen))
        for other in pick.others:
            theirs = scores.get((pick.case, pick.seed, other))
            if own is not None and theirs is not None:
                by_case.setdefault(pick.case, []).append(float(np.sign(own - theirs)) / 2 + 0.5)
    if not by_case:
        return None
    # Pairs of one case are not independent, so whole cases are drawn again.
    sums = np.array([[sum(wins), len(wins)] for wins in by_case.values()])
    drawn = np.random.default_rng(0).integers(0, len(sums), (_RESAMPLES, len(sums)))
    resampled = sums[drawn].sum(axis=1)
    low, high = np.quantile(resampled[:, 0] / resampled[:, 1], [0.025, 0.975])
    total = sums.sum(axis=0)
    return Agreement(float(total[0] / total[1]), (float(low), float(high)), int(total[1]))
