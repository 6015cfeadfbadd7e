"""Preference pairs for DPO: a good and a bad clip of one condition, mined from their scores."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from vap.data.pairing import seeded
from vap.data.rows import MAX_SCORE, TRAIN, ClipRow, score_bin


@dataclass(frozen=True, slots=True)
class PreferenceStage:
    """Which scores win and which lose."""

    winner_from: float  # winners are scored this or more
    loser_to: float  # losers are scored this or less

    def __post_init__(self) -> None:
        if not 0 <= self.loser_to < self.winner_from <= MAX_SCORE:
            raise ValueError(
                f"winner_from={self.winner_from}, loser_to={self.loser_to}: "
                "take 0 ≤ loser_to < winner_from ≤ 100."
            )


CLEAR, CLOSER = PreferenceStage(90.0, 10.0), PreferenceStage(80.0, 30.0)
CLEAR_EPOCHS = 2


@dataclass(frozen=True, slots=True)
class PreferenceRules:
    """How pairs are mined and weighted."""

    alpha: float = 1.0  # exponent of the weight, α
    beta: float = 0.02  # scale of the score difference, β of the weight (not of the DPO loss)
    # References are scored 100 or, where no such clip is left, above this.
    reference_above: float = 80.0
    splits: frozenset[str] | None = frozenset({TRAIN})  # those that are mined; None takes all
    seed: int = 0  # seed of the draws of losers and references

    def __post_init__(self) -> None:
        if not (self.alpha >= 0 and self.beta > 0):
            raise ValueError(f"alpha={self.alpha}, beta={self.beta}: take alpha ≥ 0 and beta > 0.")


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two clips of one condition with the reference they are judged by; all three differ."""

    winner: ClipRow
    loser: ClipRow
    reference: ClipRow
    weight: float


def stage_of_epoch(epoch: int) -> PreferenceStage:
    """The release's schedule: clear pairs in the first two epochs (0 and 1), closer ones later."""
    return CLEAR if epoch < CLEAR_EPOCHS else CLOSER


def mine_preferences(
    rows: Iterable[ClipRow],
    rules: PreferenceRules,
    *,
    epoch: int = 0,
    stage: PreferenceStage | None = None,
) -> tuple[PreferencePair, ...]:
    """Pair every winner with a random loser and a random reference of its condition.

    A winner without a loser or without a reference makes no pair. Rows out of use (``_valid`` ≤ 0)
    or of other splits take no part; all that do take part count in the weight's shares. ``epoch``
    (pass over the data) sets the draws and, unless it is given, the stage.
    """
    stage = stage or stage_of_epoch(epoch)
    mined = [
        row for row in rows if row.usable and (rules.splits is None or row.split in rules.splits)
    ]
    # By condition. A loser may never be the reference, so it is not a candidate.
    losers: dict[str, list[ClipRow]] = defaultdict(list)
    good: dict[str, list[ClipRow]] = defaultdict(list)
    for row in mined:
        if row.score <= stage.loser_to:
            losers[row.condition].append(row)
        elif row.score > rules.reference_above:
            good[row.condition].append(row)
    weigh = weight_by_scores([row.score for row in mined], alpha=rules.alpha, beta=rules.beta)
    pairs = []
    for winner in mined:
        references = [row for row in good[winner.condition] if row is not winner]
        if winner.score < stage.winner_from or not losers[winner.condition] or not references:
            continue
        rng = seeded(rules.seed, "preference", epoch, winner.video)
        loser = rng.choice(losers[winner.condition])
        perfect = [row for row in references if row.score == MAX_SCORE]
        reference = rng.choice(perfect or references)
        pairs.append(PreferencePair(winner, loser, reference, weigh(winner.score, loser.score)))
    return tuple(pairs)


def weight_by_scores(
    scores: Sequence[float], *, alpha: float = 1.0, beta: float = 0.02
) -> Callable[[float, float], float]:
    """The weight of a pair as a function of the winner's and the loser's score.

    ``(|s_w - s_l| · β / √(p_w·p_l))^α``, with ``p`` the share of all clips in the score's bin of
    width 10 (the last bin takes 100 in): rare scores count more. ``scores`` are those of all clips.
    """
    counts = Counter(map(score_bin, scores))
    shares = {index: count / len(scores) for index, count in counts.items()}

    def weight(winner: float, loser: float) -> float:
        rarity = math.sqrt(shares[score_bin(winner)] * shares[score_bin(loser)])
        return float((abs(winner - loser) * beta / rarity) ** alpha)

    return weight
