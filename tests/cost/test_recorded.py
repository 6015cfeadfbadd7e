"""Recorded footprints are those that the code has: else record them again."""

import pytest

from vap.cost.footprint import traced_footprint
from vap.cost.recorded import cases, footprint

CASES = list(cases())


def check(case):
    model, video, dtype, keep = case
    traced = traced_footprint(model, video, dtype, keep_references=keep)
    assert footprint(model, video, dtype, keep_references=keep) == traced


def test_the_bundled_model_is_recorded_as_it_is():
    check(CASES[0])


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES[1:], ids=str)
def test_every_model_is_recorded_as_it_is(case):
    check(case)


def test_nothing_is_traced_for_known_models(monkeypatch):
    monkeypatch.setattr(
        "vap.cost.recorded.traced_footprint", lambda *_, **__: pytest.fail("traced")
    )
    for model, video, dtype, keep in CASES:
        assert footprint(model, video, dtype, keep_references=keep).transformer > 0
