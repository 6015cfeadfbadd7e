from __future__ import annotations

import numpy as np
import pytest

from vap.evaluation.judges.agreement import Pick, agreement

SCORES = {("a", "x"): 90.0, ("a", "y"): 10.0, ("a", "z"): 10.0, ("b", "x"): 5.0, ("b", "y"): 7.0}


def test_agreement_is_the_share_of_pairs_ranked_alike():
    picks = [Pick("a", "x", ("y", "z")), Pick("b", "x", ("y",)), Pick("a", "y", ("z",))]
    found = agreement(SCORES, picks)
    assert (found.share, found.pairs) == ((2 + 0 + 0.5) / 4, 4)
    low, high = found.interval
    assert low <= found.share <= high


def test_pairs_that_were_not_scored_do_not_count():
    assert agreement(SCORES, [Pick("a", "x", ("y", "unknown")), Pick("c", "x", ("y",))]).pairs == 1
    with pytest.raises(ValueError, match="No pick"):
        agreement(SCORES, [Pick("c", "x", ("y",))])


def test_a_judge_that_guesses_is_near_chance_and_its_interval_contains_it():
    rng = np.random.default_rng(0)
    scores = {(str(case), name): rng.random() for case in range(200) for name in "xy"}
    found = agreement(scores, [Pick(str(case), "x", ("y",)) for case in range(200)])
    assert found.interval[0] < 0.5 < found.interval[1]
    assert found.interval[1] - found.interval[0] < 0.2
