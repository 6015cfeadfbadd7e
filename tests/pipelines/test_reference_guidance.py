"""Guidance by the reference: away from what the backbone alone would make."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch

from tests.pipelines.golden import Golden, load, relative_error
from tests.pipelines.test_passes import CLOSE, spied
from vap.pipelines.denoise import EVERYTHING, StepWork
from vap.pipelines.denoiser import BatchedPasses, Guidance, SequentialPasses
from vap.pipelines.wan_denoiser import WanConditions, WanDenoiser, WanReference

# What the transformer below predicts, told by which pass it is.
WITH, NEGATIVE, WITHOUT = 7.0, 4.0, 2.0
TIME = torch.tensor(500)


class Toy:
    """A transformer that predicts one number for each kind of pass."""

    dtype = torch.float32

    def __init__(self) -> None:
        self.passes: list[float] = []

    def cache_context(self, _: str) -> Any:
        return nullcontext()

    def __call__(self, hidden_states: torch.Tensor, **given: Any) -> tuple[torch.Tensor]:
        negative = bool(given["encoder_hidden_states"].any())
        value = NEGATIVE if negative else WITH
        if given.get("reference_hidden_states") is None:
            value = WITHOUT
        self.passes.append(value)
        return (torch.full_like(hidden_states[:, :2], value),)


def denoiser(guidance: Guidance, *, reference: bool = True) -> WanDenoiser:
    text = torch.zeros(1, 3, 4)
    conditions = WanConditions(text, text + 1, None, torch.zeros(1, 4, 1, 2, 2))
    given = WanReference(torch.zeros(1, 1, 8, 1, 2, 2), text.unsqueeze(1), None)
    return WanDenoiser(Toy(), conditions, given if reference else None, guidance)


def predicted(one: WanDenoiser, work: StepWork = EVERYTHING) -> float:
    prediction = one.predict(torch.zeros(1, 4, 1, 2, 2), TIME, work)
    return prediction.unique().item()


def test_the_prediction_goes_as_many_times_as_far_from_that_of_the_backbone() -> None:
    one = denoiser(Guidance(1.0, reference=3.0))
    assert predicted(one) == WITHOUT + 3 * (WITH - WITHOUT)
    assert one.transformer.passes == [WITH, WITHOUT]


def test_guidance_by_text_and_by_reference_add_up() -> None:
    one = denoiser(Guidance(5.0, reference=2.0))
    assert predicted(one) == WITH + 4 * (WITH - NEGATIVE) + 1 * (WITH - WITHOUT)
    assert one.transformer.passes == [WITH, NEGATIVE, WITHOUT]


@pytest.mark.parametrize("text", [1.0, 5.0])
def test_a_step_that_spares_guidance_takes_over_both_differences(text: float) -> None:
    one = denoiser(Guidance(text, reference=2.0))
    whole = predicted(one)
    del one.transformer.passes[:]
    assert predicted(one, StepWork(guidance=False)) == whole
    assert one.transformer.passes == [WITH]


def test_the_first_step_spares_nothing() -> None:
    one = denoiser(Guidance(1.0, reference=2.0))
    predicted(one, StepWork(guidance=False))
    assert one.transformer.passes == [WITH, WITHOUT]


def test_without_a_reference_there_is_nothing_to_be_guided_by() -> None:
    one = denoiser(Guidance(1.0, reference=2.0), reference=False)
    assert predicted(one) == WITHOUT
    assert one.transformer.passes == [WITHOUT]


def test_a_scale_of_one_is_the_released_model_bit_for_bit(case: Golden) -> None:
    plain = case.run(case.encoded())
    assert torch.equal(case.run(case.prompted(reference_guidance_scale=1.0)), plain)
    assert not torch.equal(case.run(case.prompted(reference_guidance_scale=2.0)), plain)


def test_a_strength_of_zero_is_the_backbone_whatever_the_scale(case: Golden) -> None:
    steered = case.prompted(strength=0.0, reference_guidance_scale=3.0)
    assert torch.equal(case.run(steered), case.run(case.alone()))


@pytest.mark.parametrize(
    ("passes", "batches"), [(SequentialPasses(), [1] * 6), (BatchedPasses(), [2, 1] * 2)]
)
def test_three_passes_give_the_same_however_they_are_run(case: Golden, passes, batches) -> None:
    pipeline = load(case.family)
    stock = case.run(case.prompted(reference_guidance_scale=2.0), pipeline)
    pipeline.guidance_passes = passes
    ran = spied(pipeline)
    again = case.run(case.prompted(reference_guidance_scale=2.0), pipeline)
    assert relative_error(again, stock) < CLOSE
    assert ran == batches


def test_keeping_what_no_step_changes_changes_nothing(case: Golden) -> None:
    pipeline = load(case.family)
    kept = case.run(case.prompted(reference_guidance_scale=2.0), pipeline)
    pipeline.keep_constants = False
    assert torch.equal(case.run(case.prompted(reference_guidance_scale=2.0), pipeline), kept)


def test_a_models_own_scale_is_used_unless_another_is_asked_for(case: Golden) -> None:
    pipeline = load(case.family)
    asked = case.run(case.prompted(reference_guidance_scale=2.0), pipeline)
    stored = dict(pipeline.config.generation_defaults or {})
    pipeline.register_to_config(generation_defaults={**stored, "reference_guidance_scale": 2.0})
    assert torch.equal(case.run(case.encoded(), pipeline), asked)
