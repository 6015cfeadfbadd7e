"""Ways to run the two passes of guidance."""

from typing import Any

import pytest
import torch

from tests.pipelines.golden import Golden, load, relative_error
from vap.pipelines.denoiser import BatchedPasses, Pass, SequentialPasses, join_passes

CLOSE = 1e-5


def spied(pipeline: Any) -> list[int]:
    """A list that grows by the batch of every forward of the transformer."""
    batches: list[int] = []
    pipeline.transformer.register_forward_pre_hook(
        lambda _, __, kwargs: batches.append(len(kwargs["hidden_states"])), with_kwargs=True
    )
    return batches


@pytest.mark.parametrize(
    ("passes", "expected"), [(SequentialPasses(), [1] * 4), (BatchedPasses(), [2] * 2)]
)
@pytest.mark.parametrize("reference", [True, False])
def test_both_ways_give_the_same(case: Golden, passes, expected, reference: bool) -> None:
    pipeline = load(case.family)
    arguments = case.prompted if reference else case.alone
    stock = case.run(arguments(), pipeline)
    pipeline.guidance_passes = passes
    batches = spied(pipeline)
    assert relative_error(case.run(arguments(), pipeline), stock) < CLOSE
    assert batches == expected


@pytest.mark.parametrize("passes", [SequentialPasses(), BatchedPasses()])
def test_without_guidance_there_is_one_pass(case: Golden, passes) -> None:
    pipeline = load(case.family)
    pipeline.guidance_passes = passes
    batches = spied(pipeline)
    case.run(case.encoded(guidance_scale=1.0), pipeline)
    assert batches == [1, 1]


def test_joined_passes_keep_their_order_and_what_is_missing() -> None:
    passes = [
        Pass(name, {"text": torch.full((2, 3), value), "image": None}, {"strength": 0.5})
        for name, value in (("uncond", 1.0), ("cond", 2.0))
    ]
    joined = join_passes(passes)
    assert joined.context == "cond_uncond"
    assert joined.copies == 2
    assert joined.conditions["image"] is None
    assert joined.conditions["text"][:, 0].tolist() == [1, 1, 2, 2]
    assert joined.shared == {"strength": 0.5}


def test_a_predictions_parts_are_in_the_order_of_the_passes() -> None:
    together = torch.arange(4.0)
    first, second = BatchedPasses().collect([together], 2)
    assert first.tolist() == [0, 1]
    assert second.tolist() == [2, 3]
