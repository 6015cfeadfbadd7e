from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.rows import clip
from vap.data.preferences import (
    PreferenceRules,
    PreferenceStage,
    mine_preferences,
    weight_by_scores,
)


def rows_scored(*scores, condition="melt"):
    return [clip(f"{condition}{i}", condition, score) for i, score in enumerate(scores)]


def test_weight_is_the_formula_of_the_release():
    scores = [95.0, 97.0, 100.0, 5.0, 50.0, 55.0, 58.0, 52.0]
    weigh = weight_by_scores(scores, alpha=1.0, beta=0.02)
    # Three of eight clips are in [90, 100], one of eight in [0, 10).
    assert weigh(95.0, 5.0) == pytest.approx(90 * 0.02 / math.sqrt(3 / 8 * 1 / 8))
    assert weight_by_scores(scores, alpha=0.5, beta=0.1)(100.0, 50.0) == pytest.approx(
        math.sqrt(50 * 0.1 / math.sqrt(3 / 8 * 4 / 8))
    )


@given(
    scores=st.lists(st.integers(0, 100), min_size=2),
    alpha=st.floats(0.1, 3),
    beta=st.floats(0.001, 1),
)
def test_weight_equals_a_direct_count(scores, alpha, beta):
    winner, loser = scores[0], scores[1]

    def share(score):
        low = min(score // 10, 9) * 10
        top = 100 if low == 90 else low + 9
        return sum(low <= other <= top for other in scores) / len(scores)

    expected = (abs(winner - loser) * beta / math.sqrt(share(winner) * share(loser))) ** alpha
    assert weight_by_scores(scores, alpha=alpha, beta=beta)(winner, loser) == pytest.approx(
        expected
    )


@given(
    scores=st.lists(st.sampled_from([0.0, 10.0, 30.0, 80.0, 81.0, 90.0, 100.0]), max_size=8),
    epoch=st.integers(0, 4),
)
def test_pairs_obey_the_scores_of_their_epoch(scores, epoch):
    rows = rows_scored(*scores) + rows_scored(0.0, 100.0, 100.0, condition="freeze")
    pairs = mine_preferences(rows, PreferenceRules(), epoch=epoch)
    winner_from, loser_to = (90, 10) if epoch < 2 else (80, 30)
    for pair in pairs:
        assert pair.winner.score >= winner_from
        assert pair.loser.score <= loser_to
        assert len({pair.winner.condition, pair.loser.condition, pair.reference.condition}) == 1
        assert len({pair.winner.video, pair.loser.video, pair.reference.video}) == 3
        perfect = [
            row
            for row in rows
            if row.condition == pair.winner.condition and row.score == 100 and row != pair.winner
        ]
        assert pair.reference in perfect if perfect else pair.reference.score > 80
    assert {pair.winner.condition for pair in pairs} >= {"freeze"}
    assert pairs == mine_preferences(rows, PreferenceRules(), epoch=epoch)


def test_a_winner_without_loser_or_reference_makes_no_pair():
    assert mine_preferences(rows_scored(100.0, 100.0, 50.0), PreferenceRules()) == ()
    assert mine_preferences(rows_scored(100.0, 0.0, 50.0), PreferenceRules()) == ()


def test_rows_out_of_use_or_of_other_splits_take_no_part():
    rows = rows_scored(100.0, 100.0, 0.0)
    assert len(mine_preferences(rows, PreferenceRules())) == 2
    spoilt = [rows[0], clip("melt1", score=100.0, valid=0.0), rows[2]]
    assert mine_preferences(spoilt, PreferenceRules()) == ()
    assert mine_preferences(rows, PreferenceRules(splits=frozenset({"test"}))) == ()


def test_a_stage_of_ones_own_replaces_the_epochs():
    rows = rows_scored(60.0, 85.0, 40.0)
    assert mine_preferences(rows, PreferenceRules()) == ()
    [pair] = mine_preferences(rows, PreferenceRules(), stage=PreferenceStage(60.0, 40.0))[:1]
    assert (pair.winner.score, pair.loser.score, pair.reference.score) == (60.0, 40.0, 85.0)


def test_impossible_weights_are_refused():
    with pytest.raises(ValueError, match="beta=0"):
        PreferenceRules(beta=0.0)


def test_a_stage_whose_winners_may_lose_is_refused():
    with pytest.raises(ValueError, match="loser_to < winner_from"):
        PreferenceStage(50.0, 50.0)
