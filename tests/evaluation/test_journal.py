"""Rows survive a kill at any byte."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vap.evaluation.journal import Journal
from vap.evaluation.rows import ScoreRow, VideoRow


def score(case: str, value: float | None = 1.0, **more) -> ScoreRow:
    return ScoreRow("system", case, 0, "metric", "id", "sha", value, **more)


def test_the_last_row_of_a_key_counts(tmp_path):
    journal = Journal(tmp_path / "scores.jsonl", ScoreRow)
    journal.add([score("a", 1.0), score("b", 2.0)])
    journal.add([score("a", 3.0)])
    found = Journal(tmp_path / "scores.jsonl", ScoreRow).rows
    assert {row.case: row.value for row in found.values()} == {"a": 3.0, "b": 2.0}


def test_rewriting_orders_rows_and_drops_those_that_are_not_wanted(tmp_path):
    journal = Journal(tmp_path / "scores.jsonl", ScoreRow)
    journal.add([score(name) for name in "cab"])
    journal.rewrite(lambda row: row.case != "a", [score("b").key, score("x").key])
    found = Journal(tmp_path / "scores.jsonl", ScoreRow).rows
    assert [row.case for row in found.values()] == ["b", "c"]


@given(cut=st.integers(0, 400))
@settings(max_examples=40, deadline=None)
def test_of_a_file_cut_anywhere_whole_rows_remain_and_more_can_be_added(cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("journal") / "scores.jsonl"
    Journal(path, ScoreRow).add([score("a"), score("b")])
    path.write_bytes(path.read_bytes()[:cut])
    journal = Journal(path, ScoreRow)
    assert {row.case for row in journal.rows.values()} <= {"a", "b"}
    journal.rewrite(lambda _: True)
    journal.add([score("c")])
    assert {row.case for row in Journal(path, ScoreRow).rows.values()} >= {"c"}


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_read(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("journal") / "videos.jsonl"
    path.write_bytes(content)
    assert Journal(path, VideoRow).rows == {}


@pytest.mark.parametrize("text", ["ä\u2028b", "a\nb", '"quoted"'])
def test_texts_come_back_as_they_were(text, tmp_path):
    Journal(tmp_path / "rows", ScoreRow).add([score("a", None, error=text, details={"x": [text]})])
    (row,) = Journal(tmp_path / "rows", ScoreRow).rows.values()
    assert (row.error, row.details) == (text, {"x": [text]})
