"""The way of paid jobs: submit, ask, download, each step written down before and after."""

from __future__ import annotations

import random
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vap.evaluation.systems.base import Job, Outcome
from vap.evaluation.systems.connection import (
    BusyError,
    ClosedError,
    Connection,
    RefusedError,
    ServiceError,
    UnclearError,
    UnreachedError,
)
from vap.evaluation.systems.ledger import Entry, Ledger
from vap.evaluation.systems.paid_system import PaidSystem, Task
from vap.files.atomic import hidden_folder
from vap.media import probe_clip, read_clip, write_video
from vap.media.files import hash_file

_BACKOFF = (2.0, 120.0)  # seconds: the first wait and the longest
_LOOKS = 2  # a new task may not be listed at once
_LOOK_AGAIN = 3  # in times of poll_seconds
_ATTEMPTS = 6  # for what repeating seldom mends: an expired URL, a file that is no video


@dataclass(slots=True, eq=False)
class _Work:
    """A job under way.

    Attributes:
        job: The job.
        digest: Its key in the ledger.
        deadline: When to give up in this run.
        step: What to do next.
        at: When.
        entry: Its submission.
        task: What the service last told about it.
        failures: In a row.
        looks: How often the service did not know our id.
        sent: Whether the service may have got this submission.
        refused: Whether the service has refused to take it once more.
        attempts: Failures that time seldom mends.
        resubmitted: How often a lost submission was replaced.
    """

    job: Job
    digest: str
    deadline: float
    step: Literal["submit", "find", "ask", "download"] = "submit"
    at: float = 0.0
    entry: Entry | None = None
    task: Task = field(default_factory=lambda: Task(""))
    failures: int = 0
    looks: int = 0
    sent: bool = False
    refused: bool = False
    attempts: int = 0
    resubmitted: int = 0


class PaidJobs:
    """One run of a :class:`PaidSystem`.

    A single thread takes the step that is due first: each is one request. So the order is the
    same in every run of the same answers.
    """

    def __init__(self, system: PaidSystem, connection: Connection, ledger: Ledger) -> None:
        self._system = system
        self._connection = connection
        self._ledger = ledger
        self._clock = system.clock
        self._random = random.Random(0)  # noqa: S311 - jitter
        self._closed = ""  # why nothing more can be submitted
        self._open_at = 0.0  # when the service takes submissions again

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Make the videos; those that are under way or paid for come first."""
        works = []
        for job in jobs:
            try:
                works.append(self._begin(job))
            except ValueError as error:
                yield Outcome(job, f"Not submitted: {error}")
        waiting = deque(sorted(works, key=lambda work: work.entry is None))
        active: list[_Work] = []
        while waiting or active:
            while waiting and len(active) < self._system.in_flight:
                work = waiting.popleft()
                work.deadline = self._clock.time() + self._system.timeout_seconds
                active.append(work)
            work = min(active, key=lambda work: work.at)
            if (pause := work.at - self._clock.time()) > 0:
                self._clock.sleep(pause)
            if (outcome := self._advance(work)) is not None:
                active.remove(work)
                yield outcome

    def _begin(self, job: Job) -> _Work:
        digest = self._system.digest(job)
        entry = self._ledger.of(digest)
        if entry is not None and entry.state == "failed" and entry.paid == 0:
            entry = None  # it was free: try again
        work = _Work(job, digest, deadline=0.0, entry=entry)
        match entry.state if entry else None:
            case "submitted" | "lost":
                work.step, work.sent = "find", True
            case "accepted" | "done" | "failed":
                work.step = "ask"
        return work

    def _advance(self, work: _Work) -> Outcome | None:
        """Take a step; what is lost on the way is repeated after a while."""
        step = {
            "submit": self._submit,
            "find": self._find,
            "ask": self._ask,
            "download": self._download,
        }[work.step]
        try:
            return step(work)
        except ServiceError as error:
            work.attempts += isinstance(error, RefusedError)
            if isinstance(error, ClosedError) or work.attempts >= _ATTEMPTS:
                return self._end(
                    work,
                    f"The service does not tell how the task is: {error}. It may be paid for; "
                    "run again to ask for it.",
                )
            retry_after = error.retry_after if isinstance(error, BusyError) else 0.0
            at = self._clock.time() + self._backoff(work, retry_after)
            if isinstance(error, BusyError) and work.step == "submit":
                self._open_at = at
            return self._later(work, at, str(error))

    def _submit(self, work: _Work) -> Outcome | None:
        if self._closed:
            return self._end(work, f"Not submitted: {self._closed}")
        if self._clock.time() < self._open_at:
            return self._later(work, self._open_at, "the service is busy")
        own_id = work.entry.id if work.entry else uuid.uuid4().hex
        try:
            price = self._system.cost(work.job)
            request = self._system.request(work.job, own_id)
        except ValueError as error:
            return self._end(work, f"Not submitted: {error}")
        if work.entry is None:
            budget = self._system.budget
            if budget is not None and self._ledger.paid + price > budget * (1 + 1e-9):
                return self._end(
                    work,
                    f"Not submitted: {self._ledger.paid:g} of the budget of {budget:g} are or "
                    f"may be spent, and this video costs {price:g}. Raise budget to go on.",
                )
            case = f"{work.job.case.name}-s{work.job.seed}-{work.job.variant}"
            now = self._clock.time()
            entry = Entry(work.digest, case, own_id, "submitted", price, now)
            work.entry = self._ledger.write(entry)
        return self._send(work, work.entry, request.path, dict(request.content))

    def _send(
        self, work: _Work, entry: Entry, path: str, content: dict[str, object]
    ) -> Outcome | None:
        try:
            task = self._system.submitted(self._connection.call("POST", path, **content))
        except ClosedError as error:
            self._closed = str(error)
            if work.sent:
                return self._end(work, f"It cannot be asked for: {error}")
            return self._refused(work, entry, str(error))
        except RefusedError as error:
            # An earlier try with the same id may have come through after all.
            if work.sent and not self._system.finds:
                return self._end(work, f"It may exist, and is refused now: {error}. Run again.")
            if work.sent and not work.refused:
                work.step, work.looks, work.refused = "find", 0, True
                return None
            return self._refused(work, entry, str(error))
        except UnclearError:
            work.step, work.sent, work.looks = "find", True, 0
            raise
        except (BusyError, UnreachedError) as error:
            if not work.sent:
                self._ledger.write(entry, state="refused", error=str(error))
                work.entry = None
            raise
        self._accept(work, entry, task)
        work.at = self._clock.time() + self._system.poll_seconds
        return None

    def _find(self, work: _Work) -> Outcome | None:
        """Clear up a submission without an answer."""
        entry = work.entry
        assert entry is not None
        try:
            task = self._system.find(self._connection, entry.id, entry.at)
        except LookupError:
            return self._lose(work, entry)
        if task is not None:
            self._accept(work, entry, task)
            return None
        work.looks += 1
        if work.looks < _LOOKS:
            pause = self._backoff(work, _LOOK_AGAIN * self._system.poll_seconds)
            return self._later(work, self._clock.time() + pause, "not found yet")
        work.step = "submit"
        return None

    def _lose(self, work: _Work, entry: Entry) -> Outcome | None:
        work.entry = self._ledger.write(entry, state="lost")
        most = _ATTEMPTS if entry.price == 0 else int(self._system.resubmit_lost)
        if work.resubmitted < most:
            # A new submission with its own id; this one still counts in the budget.
            work.entry, work.step, work.sent = None, "submit", False
            work.resubmitted += 1
            return None
        return self._end(
            work,
            "The answer to the submission was lost and the service cannot be asked whether it "
            "has the task: it may have been paid for. Look at your account's tasks of the time; "
            "to submit it again, set resubmit_lost: true.",
        )

    def _ask(self, work: _Work) -> Outcome | None:
        entry = work.entry
        assert entry is not None
        if entry.state == "failed":
            return self._end(work, entry.error)
        if entry.state == "done" and _is_file(work.job.output, entry.sha256):
            return self._end(work, None)
        work.task = task = self._system.ask(self._connection, entry.task)
        work.failures = 0
        cost = entry.cost if task.cost is None else task.cost
        match task.state:
            case "waiting":
                return self._later(work, self._clock.time() + self._system.poll_seconds, "")
            case "failed":
                message = f"The service could not make it: {task.error or 'no reason given'}"
                work.entry = self._ledger.write(entry, state="failed", error=message, cost=cost)
                return self._end(work, message)
        work.entry = entry if cost == entry.cost else self._ledger.write(entry, cost=cost)
        work.step = "download"
        return None

    def _download(self, work: _Work) -> Outcome | None:
        entry, output = work.entry, work.job.output
        assert entry is not None
        work.step = "ask"  # for a new URL, if this one fails
        with hidden_folder(output.parent) as folder:
            file = folder / "video.mp4"
            try:
                self._system.download(self._connection, work.task, file)
                _place(file, output)
            except (ServiceError, ValueError) as error:
                work.attempts += 1
                if work.attempts < _ATTEMPTS:
                    raise UnclearError(str(error)) from error
                return self._end(
                    work,
                    f"The video was made, and its download failed {_ATTEMPTS} times ({error}). "
                    "Run again to ask for it; it is not paid for again.",
                )
        sha256 = hash_file(output) if output.is_file() else ""
        seconds = entry.seconds or self._clock.time() - entry.at
        work.entry = self._ledger.write(entry, state="done", sha256=sha256, seconds=seconds)
        return self._end(work, None)

    def _accept(self, work: _Work, entry: Entry, task: Task) -> None:
        work.entry = self._ledger.write(entry, state="accepted", task=task.id, cost=task.cost)
        work.step, work.at, work.failures = "ask", self._clock.time(), 0

    def _refused(self, work: _Work, entry: Entry, error: str) -> Outcome:
        work.entry = self._ledger.write(entry, state="refused", error=error)
        return self._end(work, f"The service refused it: {error}")

    def _backoff(self, work: _Work, at_least: float = 0.0) -> float:
        """Seconds to wait, doubled with each failure in a row, with jitter."""
        first, longest = _BACKOFF
        work.failures += 1
        seconds = min(longest, first * 2.0 ** min(work.failures - 1, 10))
        return max(at_least, seconds * self._random.uniform(0.5, 1.0))

    def _later(self, work: _Work, at: float, reason: str) -> Outcome | None:
        """Repeat a step, or give up if that is too late."""
        work.at = at
        if at <= work.deadline:
            return None
        seconds = f"{self._system.timeout_seconds:g} seconds"
        reason = f" ({reason})" if reason else ""
        if work.entry is None:
            return self._end(work, f"Not submitted within {seconds}{reason}. Run again.")
        return self._end(
            work,
            f"It is not ready after {seconds}{reason}. Run again to ask for it; it is not paid "
            "for again.",
        )

    def _end(self, work: _Work, error: str | None) -> Outcome:
        entry = work.entry
        if entry is None:
            return Outcome(work.job, error)
        details = {"submission": entry.id, "task": entry.task}
        seconds = entry.seconds or self._clock.time() - entry.at
        return Outcome(work.job, error, seconds, entry.paid, details)


def _is_file(path: Path, sha256: str) -> bool:
    return bool(sha256) and path.is_file() and hash_file(path) == sha256


def _place(file: Path, output: Path) -> None:
    """Check that a file is a video, and move or convert it to the form of the output."""
    info = probe_clip(file)
    if output.suffix.lower() == ".mp4" and info.kind == "mov":
        file.replace(output)
    else:
        clip = read_clip(file)
        write_video(clip.frames, output, clip.fps)
