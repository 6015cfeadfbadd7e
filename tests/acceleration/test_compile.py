"""Compiled blocks: the same numbers, and no compilation after the first steps."""

from collections.abc import Iterator

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from tests.pipelines.golden import Golden, golden, load, relative_error
from vap.acceleration.compile import compile_blocks

CLOSE = 1e-5


pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def forget_compiled_code() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture(params=["wan", "cogvideox"])
def case(request: pytest.FixtureRequest) -> Golden:
    return golden(request.param)


def test_steps_after_the_second_compile_nothing(case: Golden) -> None:
    pipeline = load(case.family)
    expected = case.run(case.prompted(num_inference_steps=4), pipeline)
    counter = CompileCounter()
    compile_blocks(pipeline.transformer.expert_blocks, backend=counter)
    counts: list[int] = []

    def count(*_: object) -> dict[str, torch.Tensor]:
        counts.append(counter.frame_count)
        return {}

    arguments = case.prompted(num_inference_steps=4, callback_on_step_end=count)
    output = case.run(arguments, pipeline)
    assert relative_error(output, expected) < CLOSE
    assert 0 < counts[0] <= counts[1] == counts[2] == counts[3]
    # Another generation of the same size, another seed: nothing new.
    case.run({**arguments, "latents": None}, pipeline)
    assert counts[-1] == counts[3]


def test_every_kind_of_block_is_one_graph(case: Golden) -> None:
    pipeline = load(case.family)
    # First, middle and last expert, and a block without: more variants than torch's own limit,
    # which ``fullgraph`` turns from silence into an error.
    pipeline.transformer.remove_expert().add_expert([0, 1, 3]).initialize_expert()
    compile_blocks(pipeline.transformer.expert_blocks, backend="eager", fullgraph=True)
    case.run(case.prompted(num_inference_steps=2), pipeline)
