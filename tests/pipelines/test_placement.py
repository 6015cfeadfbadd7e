"""Where inputs go is looked up once a call."""

import inspect
from typing import Any

import pytest
import torch

from tests.pipelines.golden import Golden
from vap.pipelines.placement import PlacedOnce, placed_once


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
    @placed_once
    def call(self, times: int, *, fail: bool = False) -> list[torch.device]:
        """Ask so many times."""
        if fail:
            message = "no"
            raise KeyError(message)
        return [self._execution_device for _ in range(times)]

    @placed_once
    def nested(self) -> list[torch.device]:
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


def test_the_signature_of_a_call_stays(pipeline: Pipeline) -> None:
    assert pipeline.call.__doc__ == "Ask so many times."
    assert list(inspect.signature(pipeline.call).parameters) == ["times", "fail"]
