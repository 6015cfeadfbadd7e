"""The state of each request of a batch: one small file each, written whole.

Nothing is lost or done twice when a process is killed, however many write at the same time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeGuard

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from vap.batch.requests import BatchRequest
from vap.files.atomic import atomic_file
from vap.media import MediaError, read_run

MANIFEST = "manifest.jsonl"
_FOLDER = "ledger"

Status: TypeAlias = Literal["started", "done", "failed"]


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Outcome:
    """The state of a request; name, digest and inputs are the request's."""

    name: str
    digest: str
    status: Status
    inputs: tuple[str, ...]
    output: str | None = None  # file names in the folder of the batch
    record: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)  # by stage
    error: dict[str, str] | None = None  # type and message
    run: str = ""  # which run of the batch this comes from
    attempts: int = 0  # how often that run has started it

    def to_json(self) -> str:
        """Write as JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Outcome:
        """Read what :meth:`to_json` wrote."""
        return TypeAdapter(cls).validate_json(text)


@dataclass(frozen=True, slots=True)
class BatchFolder:
    """The folder of a batch, with its videos and the outcomes of its requests."""

    output: Path
    suffix: str  # of the videos
    run: str  # tells this run of the batch from earlier ones

    def place(self, request: BatchRequest) -> Path:
        """The file of a request's video."""
        return self.output / f"{request.name}{self.suffix}"

    def of(self, request: BatchRequest) -> Outcome | None:
        """The outcome of a request; None if there is none, or it is of other text or files."""
        outcome = self._of_its_words(request)
        return outcome if outcome is not None and outcome.inputs == request.inputs else None

    def has_video(self, outcome: Outcome | None) -> TypeGuard[Outcome]:
        """Whether an outcome's video is there, in the format of this run."""
        video = None if outcome is None else self._video(outcome)
        return video is not None and video.suffix == self.suffix

    def adopt(self, request: BatchRequest) -> Outcome | None:
        """Take over a video that was made from copies of a request's files, as after a move."""
        outcome = self._of_its_words(request)
        if outcome is None or outcome.inputs == request.inputs:
            return outcome
        if self._video(outcome) is None:
            return None
        if not self._was_made_from(outcome, request):
            raise FileExistsError(
                f"{outcome.output} was made from different files than {request.name} names."
            )
        adopted = replace(outcome, inputs=request.inputs)
        self.write(adopted)
        return adopted

    def write(self, outcome: Outcome) -> None:
        """Write the outcome of a request."""
        with atomic_file(self._path(outcome.name)) as temporary:
            temporary.write_text(outcome.to_json(), encoding="utf-8")

    def write_manifest(self, requests: Iterable[BatchRequest]) -> Path:
        """Write one line for each request, in their order, and return the file."""
        path = self.output / MANIFEST
        with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            for request in requests:
                file.write(json.dumps(_line(request, self.of(request))) + "\n")
        return path

    def _was_made_from(self, outcome: Outcome, request: BatchRequest) -> bool:
        from vap.generation.record import has_same_inputs

        try:
            record = read_run(self.output / (outcome.record or ""))
            return has_same_inputs(record, request.request)
        except (MediaError, OSError):
            return False

    def _of_its_words(self, request: BatchRequest) -> Outcome | None:
        """The outcome, or None if it is of another text or damaged: then it is made again."""
        try:
            outcome = Outcome.from_json(self._path(request.name).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        return outcome if outcome.digest == request.digest else None

    def _video(self, outcome: Outcome) -> Path | None:
        """The video of an outcome, if there is one."""
        if outcome.status != "done" or outcome.output is None:
            return None
        video = self.output / outcome.output
        return video if video.is_file() else None

    def _path(self, name: str) -> Path:
        return self.output / _FOLDER / f"{name}.json"


def _line(request: BatchRequest, outcome: Outcome | None) -> dict[str, Any]:
    """The manifest's line of a request."""
    if outcome is None or outcome.status == "started":
        return {"name": request.name, "status": "pending"}
    shown = ("name", "status", "output", "record", "seconds", "error")
    return {name: getattr(outcome, name) for name in shown}
