"""Makes the requests of a batch one after the other, with a model that stays loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from vap.batch.ledger import BatchFolder, Outcome
from vap.batch.requests import BatchRequest, check_files
from vap.captioning import with_prompts
from vap.effects.library import find_effect
from vap.generation.loaded import LoadedModel, Loading, recover
from vap.generation.prompt_cache import PromptCache
from vap.generation.request import GenerationRequest
from vap.generation.run import OnStep, generate, model_key, save

_ATTEMPTS = 3


class Worker:
    """Keeps one model loaded, and the prompts encoded with it."""

    def __init__(self, batch: BatchFolder, loading: Loading = nullcontext) -> None:
        self._batch = batch
        self._model = LoadedModel(loading)
        self._unloadable: dict[str, Exception] = {}
        self._prompts = PromptCache()

    def make_unless_done(self, request: BatchRequest, on_step: OnStep | None = None) -> Outcome:
        """Make a request's video if it is not there."""
        before = self._batch.of(request)
        if self._batch.has_video(before):
            return before
        return self.make(request, on_step)

    def make(self, request: BatchRequest, on_step: OnStep | None = None) -> Outcome:
        """Make a request's video, and record success or failure in the ledger."""
        before = self._batch.of(request)
        attempts = before.attempts if before is not None and before.run == self._batch.run else 0
        outcome = Outcome(
            request.name,
            request.digest,
            "started",
            inputs=request.inputs,
            run=self._batch.run,
            attempts=attempts + 1,
        )
        if attempts >= _ATTEMPTS:
            # It ends its process each time; a new process must not start it forever.
            message = (
                f"Its process ended unexpectedly {attempts} times, perhaps because it ran out of "
                "memory."
            )
            outcome = replace(
                outcome, status="failed", error={"type": "ProcessDied", "message": message}
            )
        else:
            self._batch.write(outcome)
            outcome = self._made(request, outcome, on_step)
        self._batch.write(outcome)
        return outcome

    def _made(self, request: BatchRequest, outcome: Outcome, on_step: OnStep | None) -> Outcome:
        place = self._batch.place(request)
        try:
            check_files(request.request, place)
            named = request.request.effect
            effect = None if named is None or request.request.prompt else find_effect(named)
            asked = with_prompts(request.request, effect=effect)
            pipeline = self._pipeline(asked)
            made = generate(asked, pipeline, encode=self._prompts.encode, on_step=on_step)
            video, record, *_ = save(made, place)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other requests continue
            # Its frames may keep much of the memory.
            error.__traceback__ = None
            recover()
            failure = {"type": type(error).__name__, "message": str(error)}
            return replace(outcome, status="failed", error=failure)
        return replace(
            outcome, status="done", output=video.name, record=record.name, seconds=made.seconds
        )

    def _pipeline(self, request: GenerationRequest) -> Any:
        """The model of a request; one that cannot be loaded is not tried again."""
        key = model_key(request)
        if key in self._unloadable:
            raise self._unloadable[key]
        try:
            return self._model.pipeline(request)
        except Exception as error:
            self._unloadable[key] = error
            raise


def making(batch: BatchFolder, requests: Sequence[BatchRequest]) -> Callable[[int], Outcome]:
    """Make requests by their places, in a process of a cluster; a lost one may have made some."""
    worker = Worker(batch)
    return lambda place: worker.make_unless_done(requests[place])
