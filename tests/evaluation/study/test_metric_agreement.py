from __future__ import annotations

import numpy as np

from vap.evaluation.journal import Journal
from vap.evaluation.rows import ScoreRow
from vap.evaluation.study.metric_agreement import Pick, agreement, metric_agreement
from vap.evaluation.study.store import NONE, Answer

SCORES = {
    ("a", 0, "x"): 90.0,
    ("a", 0, "y"): 10.0,
    ("a", 0, "z"): 10.0,
    ("b", 0, "x"): 5.0,
    ("b", 0, "y"): 7.0,
    ("a", 1, "x"): 0.0,
}


def test_agreement_is_the_share_of_pairs_ranked_alike():
    picks = [Pick("a", 0, "x", ("y", "z")), Pick("b", 0, "x", ("y",)), Pick("a", 0, "y", ("z",))]
    found = agreement(SCORES, picks)
    assert (found.share, found.pairs) == ((2 + 0 + 0.5) / 4, 4)
    low, high = found.interval
    assert low <= found.share <= high


def test_pairs_that_were_not_scored_do_not_count():
    picks = [Pick("a", 0, "x", ("y", "unknown")), Pick("a", 1, "x", ("y",))]
    assert agreement(SCORES, picks).pairs == 1
    assert agreement(SCORES, [Pick("c", 0, "x", ("y",))]) is None


def test_scores_that_say_nothing_are_near_chance_within_their_interval():
    rng = np.random.default_rng(0)
    scores = {(str(case), 0, name): rng.random() for case in range(200) for name in "xy"}
    found = agreement(scores, [Pick(str(case), 0, "x", ("y",)) for case in range(200)])
    assert found.interval[0] < 0.5 < found.interval[1]
    assert found.interval[1] - found.interval[0] < 0.2


def test_all_metrics_of_a_run_are_compared_with_its_study(tmp_path):
    journal = Journal(tmp_path / "scores.jsonl", ScoreRow)
    for metric, sign in (("alignment", 1), ("wrong", -1)):
        journal.add(
            ScoreRow(system, case, seed, metric, "identity", "sha256", sign * value)
            for (case, seed, system), value in SCORES.items()
        )
    journal.add([ScoreRow("x", "a", 0, "failed", "identity", "sha256", error="no key")])
    shown = ("x", "y", "z")
    answers = [
        Answer("r", "1", "a", 0, shown, "x", NONE, is_check=False, passed=True, seconds=1),
        Answer("r", "2", "b", 0, shown[:2], NONE, "y", is_check=False, passed=True, seconds=1),
        Answer("r", "3", "b", 0, shown[:2], "x", "x", is_check=True, passed=True, seconds=1),
    ]
    found = metric_agreement(tmp_path, answers)
    assert {name: each.share for name, each in found.items()} == {"alignment": 1, "wrong": 0}
    assert metric_agreement(tmp_path, answers, "quality")["alignment"].pairs == 1
