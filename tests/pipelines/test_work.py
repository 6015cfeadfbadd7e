"""What steps compute and what they take over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vap.pipelines.denoise import EVERYTHING, Reuse, StepWork

counts = st.integers(1, 6)


def test_without_reuse_every_step_computes_everything() -> None:
    assert Reuse().nothing
    assert Reuse(warm_up=3).schedule(4) == (EVERYTHING,) * 4


def test_each_kind_of_work_has_its_own_rhythm() -> None:
    work = Reuse(guidance=2, references=3).schedule(7)
    assert [step.guidance for step in work] == [True, False, True, False, True, False, True]
    uses = ["record", "read", "read", "record", "read", "read", "record"]
    assert [step.references for step in work] == uses


def test_the_warm_up_and_the_last_step_run_the_transformer() -> None:
    ran = [step.model for step in Reuse(model=3, warm_up=2).schedule(9)]
    assert ran == [True, True, False, False, True, False, False, True, True]


def test_the_last_step_may_take_over_all_but_the_transformer() -> None:
    last = Reuse(guidance=2, references=2, warm_up=2).schedule(5)[-1]
    assert last == StepWork(model=True, guidance=False, references="read")


@given(counts, counts, counts, counts, st.integers(1, 60))
def test_nothing_is_read_before_it_was_made(
    model: int, guidance: int, references: int, warm_up: int, steps: int
) -> None:
    work = Reuse(model, guidance, references, warm_up).schedule(steps)
    assert len(work) == steps
    assert work[0].model
    assert work[0].guidance
    assert work[0].references == ("run" if references == 1 else "record")
    assert work[-1].model
    assert all(isinstance(step, StepWork) for step in work)


@pytest.mark.parametrize("name", ["model", "guidance", "references", "warm_up"])
def test_a_rhythm_of_less_than_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}=0.*at least 1"):
        Reuse(**{name: 0})
