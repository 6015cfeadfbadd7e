from __future__ import annotations

import pytest

from tests.data.rows import clip
from vap.data.row_selection import SelectionRules, check_names, filter_table, select_rows
from vap.data.table import Table

ROWS = (
    clip("a", score=5.0),
    clip("b", score=90.0, split="test"),
    clip("c", "freeze", 70.0),
    clip("d", "freeze", 80.0, valid=0.0),
    clip("e", "freeze", 60.0),
)


def kept(**rules):
    return [row.video for row in select_rows(ROWS, SelectionRules(**rules)).rows]


def test_each_rule_keeps_what_it_says():
    assert kept() == ["a", "b", "c", "e"]
    assert kept(unusable=True) == ["a", "b", "c", "d", "e"]
    assert kept(above=5.0) == ["b", "c", "e"]
    assert kept(splits=frozenset({"test"})) == ["b"]
    assert kept(conditions=frozenset({"freeze"})) == ["c", "e"]
    assert kept(without=frozenset({"freeze"})) == ["a", "b"]
    assert kept(at_most=1) == ["b", "c"]


def test_what_went_is_counted_by_reason():
    selected = select_rows(ROWS, SelectionRules(above=5.0, at_most=1))
    assert selected.gone == {"score ≤ 5": 1, "_valid ≤ 0": 1, "beyond 1 of its condition": 1}


def test_filtering_a_table_drops_references_to_clips_that_went():
    table = Table((clip("x", references=("a", "b")), *ROWS), ("seed",))
    filtered, _ = filter_table(table, SelectionRules(above=5.0))
    assert filtered.rows[0].references == ("b",)
    assert filtered.extra_columns == ("seed",)


@pytest.mark.parametrize("rules", [{"above": float("nan")}, {"at_most": 0}])
def test_impossible_rules_are_refused(rules):
    with pytest.raises(ValueError, match=next(iter(rules))):
        SelectionRules(**rules)


def test_names_that_no_row_has_are_refused_with_the_nearest():
    check_names("condition", ["melt"], ["melt", "freeze"])
    with pytest.raises(ValueError, match=r"condition 'metl' is in no row.*did you mean 'melt'"):
        check_names("condition", ["melt", "metl"], ["melt", "freeze"])
    with pytest.raises(ValueError, match="there are: none"):
        check_names("condition", ["melt"], [])
