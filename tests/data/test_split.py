from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.rows import clip
from vap.data.split import split_rows

ROWS = [clip(f"{condition}{i}", condition) for condition in ("melt", "freeze") for i in range(20)]


def test_every_condition_gives_its_share_of_clips():
    rows = split_rows(ROWS, {"test": 0.1, "val": 0.2})
    assert Counter((row.condition, row.split) for row in rows) == {
        (condition, split): count
        for condition in ("melt", "freeze")
        for split, count in (("test", 2), ("val", 4), ("train", 14))
    }


def test_small_conditions_together_give_their_shares():
    rows = [clip(f"{condition}-{i}", f"c{condition}") for condition in range(300) for i in range(4)]
    counts = Counter(row.split for row in split_rows(rows, {"val": 0.1, "test": 0.1}))
    assert 80 < counts["val"] < 160
    assert 80 < counts["test"] < 160
    at_most_one = Counter((r.condition, r.split) for r in split_rows(rows, {"test": 0.1}))
    assert max(n for (_, split), n in at_most_one.items() if split == "test") == 1


def test_a_share_of_all_takes_all():
    assert {row.split for row in split_rows(ROWS, {"test": 1.0})} == {"test"}
    assert {row.split for row in split_rows(ROWS, {"test": 0.0})} == {"train"}


def test_whole_conditions_are_held_out():
    rows = split_rows(ROWS, {"test": 0.5}, by="condition")
    assert Counter(row.split for row in rows) == {"test": 20, "train": 20}
    assert len({(row.condition, row.split) for row in rows}) == 2


@given(shares=st.lists(st.floats(0, 0.25), max_size=4), seed=st.integers(0, 5))
def test_rows_keep_all_but_their_split_whatever_their_order(shares, seed):
    names = dict(zip(["test", "val", "more", "most"], shares, strict=False))
    rows = split_rows(ROWS, names, seed=seed)
    assert [row.video for row in rows] == [row.video for row in ROWS]
    assert set(split_rows(ROWS[::-1], names, seed=seed)) == set(rows)


def test_another_seed_holds_out_other_clips():
    assert split_rows(ROWS, {"test": 0.5}, seed=0) != split_rows(ROWS, {"test": 0.5}, seed=1)


@pytest.mark.parametrize("shares", [{"test": 1.1}, {"a": 0.6, "b": 0.6}, {"train": 0.5}, {"": 0.1}])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(ValueError, match="shares"):
        split_rows(ROWS, shares)
