"""Vidu: its effect templates and image-to-video."""

from __future__ import annotations

import base64
from abc import abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field, PositiveInt

from vap.evaluation.case import Case
from vap.evaluation.systems.base import Job
from vap.evaluation.systems.connection import (
    BusyError,
    ClosedError,
    Connection,
    RefusedError,
    ServiceError,
    UnclearError,
    is_good,
    sort_by_status,
)
from vap.evaluation.systems.inputs import ImageRules, checked_text, image_file
from vap.evaluation.systems.paid_system import (
    Address,
    PaidSystem,
    Request,
    State,
    Task,
    amount,
    key_of,
)

# The body of a request may have 20 MB, and base64 adds a third.
_IMAGES = ImageRules(file_bytes=10_000_000, side=128, aspect=4.0)
_PROMPT = 2000
_BUSY = {"TooManyRequests", "SystemThrottling", "QuotaExceeded", "OperationInProcess"}
_CLOSED = {"CreditInsufficient", "Unauthorized"}
_STATES: dict[str, State] = {"success": "done", "failed": "failed", "canceled": "failed"}
_PAGE = 100
_PAGES = 20
_CLOCKS = 300.0  # seconds that our clock and the service's may differ


class Vidu(PaidSystem):
    """What the systems of Vidu share.

    Attributes:
        api_key_variable: Environment variable of the API key.
    """

    finds: ClassVar[bool] = True
    path: ClassVar[str]
    asides: ClassVar[frozenset[str]] = PaidSystem.asides | {"api_key_variable"}

    base_url: Address = "https://api.vidu.com"
    api_key_variable: str = "VIDU_API_KEY"

    def check(self) -> None:
        """Refuse to start without a key, a price and a budget."""
        super().check()
        if not key_of(self.api_key_variable):
            raise ValueError(
                f"Vidu takes a key: set the environment variable {self.api_key_variable}."
            )

    def connect(self) -> Connection:
        """Open a connection with the key."""
        key = key_of(self.api_key_variable)
        return Connection(self.base_url, lambda: f"Token {key}", _sorted, (key,))

    def request(self, job: Job, own_id: str) -> Request:
        """Return the submission; ``payload`` comes back in lists of tasks."""
        content, media_type = image_file(job.case.image, _IMAGES)
        image = f"data:{media_type};base64,{base64.b64encode(content).decode()}"
        body = {
            "images": [image],
            "prompt": checked_text(self.text(job.case), _PROMPT),
            "seed": job.seed + 1,  # Vidu takes 0 for a random one
            "payload": own_id,
            **self.body(job.case),
        }
        return Request(self.path, {"json": body})

    @abstractmethod
    def body(self, case: Case) -> dict[str, Any]:
        """Return what else is asked for."""

    def submitted(self, answer: Mapping[str, Any]) -> Task:
        """Read the answer to a submission."""
        return _task(str(answer.get("task_id") or ""), answer)

    def ask(self, connection: Connection, task: str) -> Task:
        """Ask for a task; a finished one has a new address of its video."""
        path = f"/ent/v2/tasks/{quote(task, safe='')}/creations"
        answer = connection.call("GET", path)
        found = _task(task, answer)
        if found.state == "done" and not found.url:
            raise UnclearError("Vidu's answer has no video")
        return found

    def find(self, connection: Connection, own_id: str, since: float) -> Task | None:
        """Look for our own id in the list of tasks of that time."""
        start = datetime.fromtimestamp(since - _CLOCKS, UTC).isoformat()
        for page in range(_PAGES):
            query = {"created_at.from": start, "pager.page": page, "pager.pagesz": _PAGE}
            try:
                answer = connection.call("GET", "/ent/v2/tasks", params=query)
            except ClosedError:
                raise
            except RefusedError as error:
                raise LookupError from error
            tasks = answer.get("tasks")
            if not isinstance(tasks, list):
                raise LookupError
            for task in tasks:
                # A list that does not tell our ids cannot say that a task is missing.
                if not isinstance(task, Mapping) or "payload" not in task:
                    raise LookupError
                if task["payload"] == own_id:
                    return _task(str(task.get("id") or task.get("task_id") or ""), task)
            if len(tasks) < _PAGE:
                return None
        raise LookupError


class ViduTemplate(Vidu):
    """Vidu's templates: one by name for each condition.

    Attributes:
        templates: Template by condition; cases of other conditions are not covered.
        aspect_ratio: For templates that take it.
    """

    kind: ClassVar[str] = "vidu-template"
    path: ClassVar[str] = "/ent/v2/template"

    templates: dict[str, str] = Field(min_length=1)
    aspect_ratio: str | None = None

    def covers(self, case: Case) -> bool:
        """Whether the condition has a template."""
        return case.condition in self.templates

    def case_identity(self, case: Case) -> Mapping[str, Any]:
        """Return the settings with the template of this case alone."""
        return {**self.identity(), "templates": self.templates[case.condition]}

    def body(self, case: Case) -> dict[str, Any]:
        """Return what else is asked for."""
        ratio = {"aspect_ratio": self.aspect_ratio} if self.aspect_ratio else {}
        return {"template": self.templates[case.condition], **ratio}


class ViduImageToVideo(Vidu):
    """Vidu's image-to-video, with the effect told in words.

    Attributes:
        model: The model.
        duration: Seconds.
        resolution: Such as ``720p``; None for the model's own.
        movement_amplitude: How much moves.
    """

    kind: ClassVar[str] = "vidu-image-to-video"
    path: ClassVar[str] = "/ent/v2/img2video"

    model: str = "viduq2-pro"
    duration: PositiveInt = 5
    resolution: Literal["360p", "540p", "720p", "1080p"] | None = None
    movement_amplitude: Literal["auto", "small", "medium", "large"] = "auto"

    def body(self, case: Case) -> dict[str, Any]:
        """Return what else is asked for."""
        del case
        resolution = {"resolution": self.resolution} if self.resolution else {}
        return {
            "model": self.model,
            "duration": self.duration,
            "movement_amplitude": self.movement_amplitude,
            **resolution,
        }


def _sorted(status: int, body: Mapping[str, Any]) -> type[ServiceError] | None:
    """Vidu's reasons say more than the status."""
    reasons = {str(body.get("reason")), str(body.get("err_code"))}
    if not is_good(status) and reasons & _BUSY:
        return BusyError
    if not is_good(status) and reasons & _CLOSED:
        return ClosedError
    return sort_by_status(status, body)


def _task(name: str, answer: Mapping[str, Any]) -> Task:
    if not name:
        raise UnclearError("Vidu's answer has no task")
    state = _STATES.get(str(answer.get("state")), "waiting")
    creations = answer.get("creations")
    first = creations[0] if isinstance(creations, list) and creations else None
    url = str(first.get("url") or "") if isinstance(first, Mapping) else ""
    cost = amount(answer.get("credits"))
    return Task(
        id=name,
        state=state,
        url=url,
        error=str(answer.get("err_code") or ""),
        cost=cost if cost > 0 or (cost == 0 and state == "failed") else None,
    )
