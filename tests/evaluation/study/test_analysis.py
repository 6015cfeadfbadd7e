import csv
import random
from pathlib import Path

import numpy as np
import pytest

from vap.evaluation.study.analysis import analyze, write_csv
from vap.evaluation.study.store import NONE, Answer, Store

PLANTED = {"ours": 0.6, "stock": 0.3, "still": 0.1}


def answer(rater: str, case: int, pick: str, quality: str = "stock", **changes: object) -> Answer:
    values = {
        "rater": rater,
        "item": f"item-{case}",
        "case": f"case-{case}",
        "seed": 0,
        "shown": tuple(PLANTED),
        "semantics": pick,
        "quality": quality,
        "is_check": False,
        "passed": True,
        "seconds": 5.0,
    }
    return Answer(**{**values, **changes})  # type: ignore[arg-type]


def planted(raters: int, cases: int) -> list[Answer]:
    rng = random.Random(0)
    picks = lambda: rng.choices([*PLANTED], [*PLANTED.values()])[0]  # noqa: E731
    return [
        answer(f"rater-{r}", case, picks(), picks()) for r in range(raters) for case in range(cases)
    ]


def test_planted_preferences_come_back_within_their_intervals() -> None:
    found = analyze(planted(10, 40))
    for each in found.preferences:
        low, high = each.interval
        assert low <= PLANTED[each.system] <= high
        assert each.strength == pytest.approx(PLANTED[each.system], abs=0.1)
    for question in ("semantics", "quality", "both"):
        rates = [each.rate for each in found.preferences if each.question == question]
        assert sum(rates) == pytest.approx(1)
    assert found.agreement["semantics"] == pytest.approx(0, abs=0.1)  # picks are independent


def test_rates_are_shares_of_the_picks() -> None:
    found = analyze([answer("a", 0, "ours"), answer("b", 0, "ours"), answer("a", 1, NONE)])
    rates = {each.system: each.rate for each in found.preferences if each.question == "semantics"}
    assert rates == {"ours": 1, "stock": 0, "still": 0}
    assert found.none == {"semantics": pytest.approx(1 / 3), "quality": 0}
    assert (found.raters, found.answers) == (2, 3)


def test_raters_who_agree_have_alpha_one_and_alone_none() -> None:
    together = [answer(name, case, ("ours", "stock")[case]) for name in "ab" for case in range(2)]
    assert analyze(together).agreement["semantics"] == pytest.approx(1)
    assert analyze(together[:2]).agreement["semantics"] is None


def test_alpha_of_a_case_computed_by_hand() -> None:
    # Coincidences: o = [[2, 1], [1, 0]] over 4 values; alpha = 1 - 3 * 2 / (3 * 1 * 2) = 0.
    found = analyze(
        [
            answer("a", 0, "ours"),
            answer("b", 0, "ours"),
            answer("a", 1, "ours"),
            answer("b", 1, "stock"),
        ]
    )
    assert found.agreement["semantics"] == pytest.approx(0)


def test_careless_raters_do_not_count() -> None:
    check = {"is_check": True, "item": "check"}
    found = analyze(
        [
            answer("a", 0, "ours"),
            answer("a", 9, "ours", **check),
            answer("b", 0, "still"),
            answer("b", 9, "still", passed=False, **check),
        ]
    )
    assert (found.raters, found.excluded, found.answers) == (1, 1, 1)
    with pytest.raises(ValueError, match="answers"):
        analyze([answer("b", 0, "still"), answer("b", 9, "still", passed=False, **check)][1:])


def test_answers_survive_in_the_store_and_in_the_table(tmp_path: Path) -> None:
    store = Store(tmp_path / "study.sqlite")
    rater = store.new_rater()
    given = [answer(rater, 0, "ours"), answer(rater, 1, NONE, seconds=2.5)]
    for each in (given[1], *given):
        store.save(each)
    assert sorted(Store(tmp_path / "study.sqlite").answers(), key=lambda each: each.item) == given
    assert store.secret == Store(tmp_path / "study.sqlite").secret
    with write_csv(given, tmp_path / "answers.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["semantics"] for row in rows] == ["ours", ""]
    assert rows[0]["shown"].split() == list(PLANTED)


def test_the_interval_is_over_cases() -> None:
    # All raters agree in each case, so more raters do not narrow it.
    few, many = (
        analyze(
            [answer(f"r{r}", c, "ours" if c % 2 else "stock") for r in range(n) for c in range(8)]
        )
        for n in (2, 20)
    )
    widths = [
        np.ptp(next(each.interval for each in found.preferences if each.system == "ours"))
        for found in (few, many)
    ]
    assert widths[0] == pytest.approx(widths[1])
    assert widths[0] > 0.3
