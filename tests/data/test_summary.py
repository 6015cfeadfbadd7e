from __future__ import annotations

from tests.data.rows import clip
from vap.data.summary import summarize


def test_a_summary_counts_what_the_rows_hold():
    rows = [
        clip("a", score=100.0, references=("b", "c")),
        clip("b", score=9.9, valid=0.0),
        clip("c", "freeze", 10.0, split="test", caption=" "),
    ]
    summary = summarize(rows)
    assert (summary.clips, summary.unusable, summary.without_caption) == (3, 1, 1)
    assert summary.splits == {"test": 1, "train": 2}
    assert (summary.without_reference, summary.references) == (2, 2 / 3)
    assert summary.histogram == (1, 1, 0, 0, 0, 0, 0, 0, 0, 1)
    assert [(one.name, one.clips, one.mean_score) for one in summary.conditions] == [
        ("freeze", 1, 10.0),
        ("melt", 2, 54.95),
    ]


def test_an_empty_table_has_a_summary():
    assert (summarize([]).clips, summarize([]).mean_score, summarize([]).conditions) == (0, 0.0, ())
