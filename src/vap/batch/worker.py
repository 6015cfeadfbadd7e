"""Makes the requests of a batch one after the other, with a model that stays loaded."""

from __future__ import annotations

import gc
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vap.batch.cache import PromptCache
from vap.batch.ledger import Ledger, Outcome
from vap.batch.requests import BatchRequest
from vap.generation.request import (
    GenerationRequest,
    check_inputs_kept,
    check_place,
    places_of,
)
from vap.generation.run import OnStep, generate, load_for, model_key, save

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """Where and how the videos of a batch are written.

    Attributes:
        output: Folder.
        suffix: ``.mp4``, ``.webm`` or ``.gif``.
        run: Tells this run of the batch from earlier ones.
    """

    output: Path
    suffix: str
    run: str

    @property
    def ledger(self) -> Ledger:
        """What has become of the requests."""
        return Ledger(self.output)


def check_files(request: GenerationRequest, place: Path) -> None:
    """Refuse a request whose files are not there, or whose video cannot be written.

    Args:
        request: Of the video.
        place: Of its file.
    """
    for role, path in request.inputs:
        if not path.exists():
            raise FileNotFoundError(f"There is no {role.replace('_', ' ')} at {path}.")
    for written in places_of(place):
        check_place(written)
    check_inputs_kept((path for _, path in request.inputs), places_of(place))


class Worker:
    """Holds one model and the prompts encoded with it.

    Args:
        batch: What it works for.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._ledger = batch.ledger
        self._held: tuple[str, Any] | None = None
        self._unloadable: dict[str, Exception] = {}
        self._prompts = PromptCache()

    def make_unless_done(self, request: BatchRequest, on_step: OnStep | None = None) -> Outcome:
        """Make a request's video if it is not there."""
        before = self._ledger.of(request)
        if before is not None and self._ledger.has_video(before, self._batch.suffix):
            return before
        return self.make(request, on_step)

    def make(self, request: BatchRequest, on_step: OnStep | None = None) -> Outcome:
        """Make a request's video, or find out why not; either way it is in the ledger."""
        before = self._ledger.of(request)
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
            # It ends its process, again and again; a new process must not start it forever.
            said = f"Its process ended unexpectedly {attempts} times; the memory may not suffice."
            outcome = replace(
                outcome, status="failed", error={"type": "ProcessDied", "message": said}
            )
        else:
            self._ledger.write(outcome)
            outcome = self._made(request, outcome, on_step)
        self._ledger.write(outcome)
        return outcome

    def _made(self, request: BatchRequest, outcome: Outcome, on_step: OnStep | None) -> Outcome:
        place = self._batch.output / f"{request.name}{self._batch.suffix}"
        try:
            check_files(request.request, place)
            pipeline = self._pipeline(request.request)
            made = generate(request.request, pipeline, encode=self._prompts.encode, on_step=on_step)
            video, record, *_ = save(made, place)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other requests go on
            # What it came through may hold much of the memory.
            error.__traceback__ = None
            _recover()
            said = {"type": type(error).__name__, "message": str(error)}
            return replace(outcome, status="failed", error=said)
        return replace(
            outcome, status="done", output=video.name, record=record.name, seconds=made.seconds
        )

    def _pipeline(self, request: GenerationRequest) -> Any:
        """The model of a request, loaded unless it is the last one's."""
        key = model_key(request)
        if key in self._unloadable:
            raise self._unloadable[key]
        if self._held is None or self._held[0] != key:
            # First let go of the last one: the memory may not hold both.
            self._held = None
            _recover()
            try:
                self._held = key, load_for(request)
            except Exception as error:
                self._unloadable[key] = error
                raise
        return self._held[1]


def _recover() -> None:
    """Give back memory that a failure or a former model holds."""
    gc.collect()
    if torch.accelerator.is_available():
        torch.accelerator.memory.empty_cache()
