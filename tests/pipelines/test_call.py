"""A call runs alone, looks up once where inputs go, and names unknown arguments."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from tests.pipelines.golden import Golden
from vap.pipelines.call import PlacedOnce


class Walks:
    """A stock pipeline as far as placement goes."""

    def __init__(self) -> None:
        self.walked = 0
        self.device = torch.device("cpu")

    @property
    def _execution_device(self) -> torch.device:
        self.walked += 1
        return self.device


class Pipeline(PlacedOnce, Walks):
    def call(self, times: int, *, fail: bool = False, **unknown: Any) -> list[torch.device]:
        """Ask so many times."""
        with self._alone("call", unknown):
            if fail:
                message = "no"
                raise KeyError(message)
            return [self._execution_device for _ in range(times)]

    def nested(self, **unknown: Any) -> list[torch.device]:
        with self._alone("nested", unknown):
            return [*self.call(2), self._execution_device]


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline()


def test_a_call_looks_once(pipeline: Pipeline) -> None:
    assert pipeline.call(5) == [torch.device("cpu")] * 5
    assert pipeline.nested() == [torch.device("cpu")] * 3
    assert pipeline.walked == 2


def test_between_calls_a_pipeline_may_move(pipeline: Pipeline) -> None:
    pipeline.call(1)
    pipeline.device = torch.device("meta")
    assert pipeline._execution_device.type == "meta"
    assert pipeline.call(1) == [torch.device("meta")]


def test_a_call_that_fails_leaves_nothing_behind(pipeline: Pipeline) -> None:
    with pytest.raises(KeyError):
        pipeline.call(1, fail=True)
    pipeline.device = torch.device("meta")
    assert pipeline._execution_device.type == "meta"


def test_a_generation_walks_through_the_modules_once(
    case: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks: list[Any] = []
    parent = next(
        base
        for base in type(case.pipeline).__mro__
        if "_execution_device" in vars(base) and base is not PlacedOnce
    )
    found = vars(parent)["_execution_device"]
    monkeypatch.setattr(
        parent,
        "_execution_device",
        property(lambda self: (walks.append(1), found.fget(self))[1]),
    )
    case.run(case.prompted(latents=None))
    assert len(walks) == 1


def test_an_unknown_argument_is_told_the_one_that_is_meant(case: Golden) -> None:
    for name, meant in [
        ("ref_videos", "reference_videos"),
        ("prompt_mot_ref", "reference_prompts"),
        ("guidance", "guidance_scale"),
    ]:
        with pytest.raises(TypeError, match=f"{name}.*Use {meant}"):
            case.pipeline(case.inputs["image"], "a", **{name: None})
    with pytest.raises(TypeError, match=r"refs.*It has: reference_videos"):
        case.pipeline.encode_video_prompt(case.inputs["reference"], wrong_refs=1)


def test_two_threads_take_turns(case: Golden) -> None:
    def encode(seed: int) -> torch.Tensor:
        given = case.prompted(generator=torch.Generator().manual_seed(seed), latents=None)
        return case.run(given)

    expected = [encode(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(encode, range(4)))
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
