"""A system whose videos a service makes, task by task, and may charge for."""

from __future__ import annotations

import math
import os
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from vap.evaluation.benchmarks.base import digest, media_digest
from vap.evaluation.case import Case
from vap.evaluation.systems.base import Job, Outcome, System
from vap.evaluation.systems.connection import Connection, sort_by_status
from vap.evaluation.systems.ledger import opened_ledger

Caption = Literal["effect", "scene", "none"]
"""Which text is sent: the caption with the effect, the one without it, or nothing."""

State = Literal["waiting", "done", "failed"]
"""How far a task is."""


@dataclass(frozen=True, slots=True)
class Request:
    """A submission, as the service takes it.

    Attributes:
        path: Of the service.
        content: ``json``, ``data``, ``files`` or ``headers`` of the request.
    """

    path: str
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """What a service says about a task.

    Attributes:
        id: The service's id.
        state: How far it is.
        url: Where the video is.
        error: Why it has failed.
        cost: What it costs, where the service says so.
    """

    id: str
    state: State = "waiting"
    url: str = ""
    error: str = ""
    cost: float | None = None


class Clock:
    """The time, which tests replace."""

    def time(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


Address = Annotated[str, Field(pattern=r"^https?://\S+$")]


class PaidSystem(System):
    """A system that submits tasks to a service and never pays twice for the same one.

    Attributes:
        base_url: Address of the service.
        price: What one video costs with these settings, in the unit of the account.
        budget: The most that all runs in the same output folder may cost together.
        caption: Which text is sent.
        in_flight: Tasks at the same time.
        poll_seconds: Time between two questions about a task.
        timeout_seconds: How long a run waits for one video; the next run asks for it again.
        resubmit_lost: Whether to submit again what may have been paid for, where the service
            cannot be asked.
    """

    remote: ClassVar[bool] = True
    clock: ClassVar[Clock] = Clock()
    finds: ClassVar[bool] = False
    """Whether the service can be asked for a task by our own id."""
    asides: ClassVar[frozenset[str]] = frozenset(
        [
            "name",
            "title",
            "base_url",
            "price",
            "budget",
            "in_flight",
            "poll_seconds",
            "timeout_seconds",
            "resubmit_lost",
        ]
    )
    """Fields that do not decide the videos."""

    base_url: Address
    price: NonNegativeFloat | None = None
    budget: NonNegativeFloat | None = None
    caption: Caption = "effect"
    in_flight: PositiveInt = 3
    poll_seconds: PositiveFloat = 10.0
    timeout_seconds: PositiveFloat = 3600.0
    resubmit_lost: bool = False

    def check(self) -> None:
        """Refuse to start without a key, a price and a budget.

        Raises:
            ValueError: What is missing and how to give it.
        """
        if self.price is None or (self.price > 0 and self.budget is None):
            raise ValueError(
                f"The system {self.name!r} costs money: set price (of one video with these "
                "settings) and budget (the most to spend) in its config, in the unit of your "
                "account."
            )

    def identity(self) -> Mapping[str, Any]:
        """Return the settings that decide the videos."""
        # Without None: a field that a later version adds must not have all paid for again.
        settings = self.model_dump(mode="json", exclude=set(self.asides), exclude_none=True)
        return {"kind": self.kind, **settings}

    def run(self, jobs: Sequence[Job], folder: Path) -> Iterator[Outcome]:
        """Submit, wait and download; tasks of earlier runs are asked for, not submitted again."""
        from vap.evaluation.systems.paid_jobs import PaidJobs

        self.check()
        with opened_ledger(folder) as ledger, self.connect() as connection:
            yield from PaidJobs(self, connection, ledger).run(jobs)

    def connect(self) -> Connection:
        """Open a connection with the key."""
        return Connection(self.base_url, lambda: None, sort_by_status)

    def cost(self, job: Job) -> float:
        """Return what a job is expected to cost.

        Raises:
            ValueError: If the job cannot be sent.
        """
        del job
        return self.price or 0.0

    def case_identity(self, case: Case) -> Mapping[str, Any]:
        """Return what of :meth:`identity` decides the video of one case."""
        del case
        return self.identity()

    @abstractmethod
    def request(self, job: Job, own_id: str) -> Request:
        """Return the submission of a job.

        Raises:
            ValueError: If the service does not take such an input.
        """

    @abstractmethod
    def submitted(self, answer: Mapping[str, Any]) -> Task:
        """Read the answer to a submission.

        Raises:
            ServiceError: If it tells no task.
        """

    @abstractmethod
    def ask(self, connection: Connection, task: str) -> Task:
        """Ask for a task by the service's id."""

    def find(self, connection: Connection, own_id: str, since: float) -> Task | None:
        """Ask for a task by our own id; None if there is none.

        Args:
            connection: To the service.
            own_id: Our id.
            since: When it was submitted.

        Raises:
            LookupError: If the service cannot tell.
        """
        del connection, own_id, since
        raise LookupError

    def download(self, connection: Connection, task: Task, target: Path) -> None:
        """Write the file of a finished task."""
        connection.download(task.url, target)

    def text(self, case: Case) -> str:
        """Return the text to send."""
        return {"effect": case.prompt, "scene": case.scene_prompt, "none": ""}[self.caption]

    def digest(self, job: Job) -> str:
        """Hash all that is asked for, so that the same is never paid for twice."""
        reference = job.reference if self.reads_reference else None
        asked = {
            "identity": self.case_identity(job.case),
            "case": [job.case.name, job.seed, job.variant],
            "text": self.text(job.case),
            "image": media_digest(job.case.image),
            "reference": media_digest(reference) if reference else "",
        }
        return digest(asked, digits=32)


def key_of(variable: str) -> str:
    """Return a key from the environment; empty if it is not set.

    Raises:
        ValueError: If it cannot be one.
    """
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"The environment variable {variable} is no key: copy it once more.")
    return key


def amount(value: object) -> float:
    """Read an amount that a service tells, as a number or text; -1 if it is none."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return -1.0
    return number if math.isfinite(number) else -1.0
