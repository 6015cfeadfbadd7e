"""References that are read again without running their stream."""

from typing import Any

import pytest
import torch
import wan_tiny
from predictions import calls_of, predict
from variants import VARIANTS, Variant

from vap.models.reference_cache import GenerationMemory, ReferenceUse, StepMemory
from vap.training.methods.streams import couple_by_addition, couple_one_way


def at(
    model: Any, arguments: dict[str, Any], time: int, use: ReferenceUse, memory: GenerationMemory
) -> torch.Tensor:
    changes = {"timestep": torch.full_like(arguments["timestep"], time)}
    return predict(model, arguments, **changes, memory=memory, step=StepMemory(use=use))


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_reading_at_the_same_time_gives_what_running_gave(variant: Variant) -> None:
    model, (arguments, _) = variant.model(), variant.case()
    memory = GenerationMemory()
    ran = at(model, arguments, 500, "run", GenerationMemory())
    recorded = at(model, arguments, 500, "record", memory)
    read = at(model, arguments, 500, "read", memory)
    assert torch.equal(recorded, ran)
    torch.testing.assert_close(read, ran, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_reading_does_not_run_the_reference_stream(variant: Variant) -> None:
    model, (arguments, _) = variant.model(), variant.case()
    depth = model.expert_depths[1]
    ran = calls_of(model.expert_blocks[depth].attn1_mot_ref.to_q)
    memory = GenerationMemory()
    for time, use in ((900, "record"), (500, "read"), (300, "read"), (100, "record")):
        at(model, arguments, time, use, memory)
    assert len(ran) == 2


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_running_again_after_reading_has_the_bits_of_a_fresh_run(variant: Variant) -> None:
    model, (arguments, _) = variant.model(), variant.case()
    memory = GenerationMemory()
    for time, use in ((900, "record"), (500, "read")):
        at(model, arguments, time, use, memory)
    again = at(model, arguments, 100, "run", memory)
    assert torch.equal(again, at(model, arguments, 100, "run", GenerationMemory()))


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_what_was_never_recorded_is_recorded_when_it_should_be_read(variant: Variant) -> None:
    model, (arguments, _) = variant.model(), variant.case()
    read = at(model, arguments, 500, "read", GenerationMemory())
    assert torch.equal(read, at(model, arguments, 500, "run", GenerationMemory()))


def test_references_that_never_see_the_target_run_once_and_exactly() -> None:
    model, (arguments, _) = wan_tiny.golden_model(), wan_tiny.golden_case()
    couple_one_way(model)
    first, last = model.expert_depths
    stream, keys = model.blocks[first].ffn_mot_ref, model.blocks[last].attn1_mot_ref.to_k
    ran = calls_of(stream), calls_of(keys)
    memory = GenerationMemory()
    for time in (900, 500, 100):
        kept = at(model, arguments, time, "run", memory)
    counts = [len(calls) for calls in ran]
    anew = predict(
        model, arguments, timestep=torch.full_like(arguments["timestep"], 100), memory=None
    )
    torch.testing.assert_close(kept, anew, rtol=1e-5, atol=1e-6)
    assert counts == [1, 1]


def test_the_coupling_is_what_the_expert_was_given() -> None:
    model = wan_tiny.golden_model()
    assert model.coupling == "joint"
    couple_one_way(model)
    assert model.coupling == "one-way"
    couple_by_addition(model)
    assert model.coupling == "addition"
