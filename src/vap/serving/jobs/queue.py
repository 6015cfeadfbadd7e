"""The queue of jobs: one row each, changed by transactions that name the state they expect.

A job ends exactly once because the statement that ends it requires that it has not ended. A worker
proves with each statement that the job is still its own: same worker, same attempt. So a worker
that was taken for dead, and was only slow, changes nothing.

Why not DBOS: in a trial (3.4, two executors, one killed) the killed one's job was still PENDING
after 45 seconds beside a living executor. It needs our heartbeats and a sweep all the same, the
latter through a private method, and our own row for owner, progress, position and key. With the row
in place, the queue is the claim, one ``SELECT … FOR UPDATE SKIP LOCKED``, and one truth in place of
two that must agree.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Sequence
from dataclasses import asdict, fields
from typing import Any, Literal

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError

from vap.serving.jobs.database import Database, jobs, workers
from vap.serving.jobs.job import (
    ENDED,
    Claim,
    Job,
    JobError,
    Made,
    ReferenceUse,
    State,
    new_id,
)
from vap.serving.jobs.request import VideoRequest
from vap.serving.settings import Settings

_SEEDS = 1 << 31
_ACTIVE: tuple[State, ...] = ("queued", "in_progress")
# Of a job that goes to another worker.
_AGAIN = {"state": "queued", "worker": None, "progress": 0, "stage": "", "preview": None}


_others = jobs.alias()
_before = sql.select(sql.func.count()).where(
    _others.c.state == "queued",
    sql.or_(
        _others.c.priority > jobs.c.priority,
        sql.and_(_others.c.priority == jobs.c.priority, _others.c.number < jobs.c.number),
    ),
)
_POSITION = sql.case((jobs.c.state == "queued", _before.scalar_subquery()))


class QueueFullError(Exception):
    """As many jobs wait as may."""


class Jobs:
    """All jobs of a service. Every method is one transaction."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database_url)

    def submit(
        self,
        request: VideoRequest,
        *,
        owner: str = "",
        priority: int = 0,
        idempotency_key: str | None = None,
        webhook_url: str | None = None,
        remixed_from: str | None = None,
        max_active: int | None = None,
    ) -> Job:
        """Accept a job, or return the one that the owner submitted with the same key.

        Raises:
            QueueFullError: If as many jobs wait as may, or the owner has ``max_active`` that have
                not ended.
            ValueError: If the key was used for another request.
        """
        row = {
            "id": new_id(),
            "owner": owner,
            "state": "queued",
            "request": request.model_dump_json(exclude_none=True),
            "progress": 0,
            "stage": "",
            "seed": secrets.randbelow(_SEEDS) if request.seed is None else request.seed,
            "model": request.model or self.settings.models[0],
            "size": request.size,
            "seconds": request.seconds,
            "webhook_url": webhook_url,
            "priority": priority,
            "idempotency_key": idempotency_key,
            "remixed_from": remixed_from,
            "group": request.group,
            "attempts": 0,
        }
        try:
            with self.database.write() as connection:
                earlier = self._with_key(connection, owner, idempotency_key)
                if earlier is None:
                    waiting = _number(connection, jobs.c.state == "queued")
                    if waiting >= self.settings.max_queued:
                        raise QueueFullError(f"{waiting} jobs wait. Try again later.")
                    if max_active is not None:
                        mine = jobs.c.owner == owner, jobs.c.state.in_(_ACTIVE)
                        if _number(connection, *mine) >= max_active:
                            raise QueueFullError(
                                f"{max_active} of your jobs wait or run. Wait until one has ended."
                            )
                    row["created_at"] = self.database.now(connection)
                    return _job(connection.execute(jobs.insert().values(row).returning(jobs)).one())
        except IntegrityError:  # the same key, at the same moment
            with self.database.read() as connection:
                earlier = self._with_key(connection, owner, idempotency_key)
            if earlier is None:
                raise
        if earlier.request != request:
            raise ValueError(
                f"The idempotency key {idempotency_key!r} was used for another request. Use a new "
                "key for each request."
            )
        return earlier

    def get(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            KeyError: If there is none.
        """
        with self.database.read() as connection:
            row = connection.execute(jobs.select().where(jobs.c.id == job_id)).one_or_none()
        if row is None:
            raise KeyError(job_id)
        return _job(row)

    def list(
        self,
        owner: str | None = None,
        *,
        limit: int = 20,
        after: str | None = None,
        order: Literal["asc", "desc"] = "desc",
        group: str | None = None,
    ) -> Sequence[Job]:
        """Return jobs by time of submission; None for those of all owners or groups."""
        query = jobs.select().limit(limit)
        if group is not None:
            query = query.where(jobs.c.group == group)
        if owner is not None:
            query = query.where(jobs.c.owner == owner)
        if after is not None:
            number = sql.select(jobs.c.number).where(jobs.c.id == after).scalar_subquery()
            query = query.where(
                jobs.c.number < number if order == "desc" else jobs.c.number > number
            )
        query = query.order_by(jobs.c.number.desc() if order == "desc" else jobs.c.number)
        with self.database.read() as connection:
            return [_job(row) for row in connection.execute(query)]

    def find(self, ids: Collection[str]) -> dict[str, tuple[Job, int | None]]:
        """Return jobs by id, each with how many are before it; None if it does not wait."""
        query = sql.select(jobs, _POSITION.label("position")).where(jobs.c.id.in_(ids))
        with self.database.read() as connection:
            return {row.id: (_job(row), row.position) for row in connection.execute(query)}

    def position(self, job: Job) -> int | None:
        """Return how many jobs are before one that waits; None if it does not wait."""
        with self.database.read() as connection:
            return connection.scalar(sql.select(_POSITION).where(jobs.c.id == job.id))

    def completed(self, model: str, *, limit: int) -> Sequence[Job]:
        """Return the last jobs of a model that have a video, the newest first."""
        done = jobs.c.model == model, jobs.c.state == "completed"
        query = jobs.select().where(*done).order_by(jobs.c.number.desc()).limit(limit)
        with self.database.read() as connection:
            return [_job(row) for row in connection.execute(query)]

    def counts(self) -> dict[State, int]:
        """Return how many jobs are in each state."""
        query = sql.select(jobs.c.state, sql.func.count()).group_by(jobs.c.state)
        counts: dict[State, int] = dict.fromkeys((*_ACTIVE, *ENDED), 0)
        with self.database.read() as connection:
            counts.update((state, count) for state, count in connection.execute(query))
        return counts

    def cancel(self, job_id: str) -> Job:
        """Cancel a job that has not ended, and return it as it is then.

        Its worker notices within a step.

        Raises:
            KeyError: If there is none.
        """
        with self.database.write() as connection:
            self._end(connection, jobs.c.id == job_id, "canceled")
        return self.get(job_id)

    def delete(self, job_id: str) -> None:
        """Forget a job, canceling it first; its media are the caller's to delete.

        Raises:
            KeyError: If there is none.
        """
        with self.database.write() as connection:
            if not connection.execute(jobs.delete().where(jobs.c.id == job_id)).rowcount:
                raise KeyError(job_id)

    def expired(self) -> Sequence[Job]:
        """Return jobs whose time is over."""
        with self.database.read() as connection:
            query = jobs.select().where(jobs.c.expires_at <= self.database.now(connection))
            return [_job(row) for row in connection.execute(query.limit(100))]

    def oldest_ended(self) -> Sequence[Job]:
        """Return jobs that have ended, the oldest first."""
        query = jobs.select().where(jobs.c.state.in_(ENDED)).order_by(jobs.c.completed_at)
        with self.database.read() as connection:
            return [_job(row) for row in connection.execute(query)]

    def ids(self) -> set[str]:
        """Return the ids of all jobs."""
        with self.database.read() as connection:
            return set(connection.scalars(sql.select(jobs.c.id)))

    # What workers call.

    def claim(self, worker: str) -> Claim | None:
        """Take the next job whose model this service makes; None if none waits."""
        waiting = (
            sql.select(jobs.c.id)
            .where(jobs.c.state == "queued", jobs.c.model.in_(self.settings.models))
            .order_by(jobs.c.priority.desc(), jobs.c.number)
            .limit(1)
        )
        with self.database.read() as connection:
            if connection.scalar(waiting) is None:
                return None
        with self.database.write() as connection:
            # With SQLite there is one writer at a time anyway.
            job_id = connection.scalar(waiting.with_for_update(skip_locked=True))
            if job_id is None:
                return None
            now = self.database.now(connection)
            row = connection.execute(
                jobs.update()
                .where(jobs.c.id == job_id)
                .values(
                    state="in_progress",
                    worker=worker,
                    attempts=jobs.c.attempts + 1,
                    started_at=now,
                    progress=0,
                    stage="",
                    lease_until=now + self.settings.lease_seconds,
                )
                .returning(jobs)
            ).one()
        return Claim(_job(row), worker)

    def note_progress(
        self, claim: Claim, *, progress: int, stage: str, preview: str | None = None
    ) -> bool:
        """Store how far a job is, and return whether it is still the worker's."""
        values: dict[str, Any] = {"progress": progress, "stage": stage}
        if preview is not None:
            values["preview"] = preview
        return self._update(claim, values)

    def still_mine(self, claim: Claim) -> bool:
        """Whether a job is still the worker's: not canceled, not given to another."""
        with self.database.read() as connection:
            return _number(connection, *_own(claim)) == 1

    def beat(self, worker: str, machine: str) -> None:
        """Give a sign of life: a worker's job stays its own for another lease."""
        with self.database.write() as connection:
            now = self.database.now(connection)
            connection.execute(
                jobs.update()
                .where(jobs.c.worker == worker, jobs.c.state == "in_progress")
                .values(lease_until=now + self.settings.lease_seconds)
            )
            seen = workers.update().where(workers.c.id == worker).values(seen_at=now)
            if not connection.execute(seen).rowcount:
                row = {"id": worker, "machine": machine, "started_at": now, "seen_at": now}
                connection.execute(workers.insert().values(row))

    def complete(self, claim: Claim, made: Made) -> bool:
        """End a job with its video; False if it is no longer the worker's."""
        with self.database.write() as connection:
            values = {
                "progress": 100,
                "stage": "",
                "video": made.video,
                "thumbnail": made.thumbnail,
                "seconds": made.seconds,
                "size": made.size,
                "reference_use": None
                if made.reference_use is None
                else json.dumps(asdict(made.reference_use)),
            }
            return self._end(connection, sql.and_(*_own(claim)), "completed", **values) == 1

    def fail(self, claim: Claim, error: JobError) -> bool:
        """End a job with a reason; False if it is no longer the worker's."""
        with self.database.write() as connection:
            values = {"error_code": error.code, "error_message": error.message}
            return self._end(connection, sql.and_(*_own(claim)), "failed", **values) == 1

    def release(self, claim: Claim) -> bool:
        """Give a job back, as a worker does that is told to stop."""
        return self._update(claim, {**_AGAIN, "attempts": claim.job.attempts - 1})

    def sweep(self) -> None:
        """Give jobs of dead workers to others; fail those that lost too many."""
        with self.database.write() as connection:
            if not self.database.alone(connection):
                return  # another worker does it
            now = self.database.now(connection)
            lost = sql.and_(jobs.c.state == "in_progress", jobs.c.lease_until < now)
            most = self.settings.max_attempts
            message = f"Its worker died {most} times; the memory may not suffice."
            self._end(
                connection,
                sql.and_(lost, jobs.c.attempts >= most),
                "failed",
                error_code="worker_died",
                error_message=message,
            )
            connection.execute(jobs.update().where(lost).values(_AGAIN))
            connection.execute(
                workers.delete().where(workers.c.seen_at < now - self.settings.lease_seconds)
            )

    def workers(self) -> Sequence[dict[str, Any]]:
        """Return the workers that gave a sign of life: id, machine and times."""
        with self.database.read() as connection:
            oldest = self.database.now(connection) - self.settings.lease_seconds
            query = workers.select().where(workers.c.seen_at >= oldest)
            return [dict(row._mapping) for row in connection.execute(query)]

    def leave(self, worker: str) -> None:
        """Take a worker that ends off the list."""
        with self.database.write() as connection:
            connection.execute(workers.delete().where(workers.c.id == worker))

    def _update(self, claim: Claim, values: dict[str, Any]) -> bool:
        with self.database.write() as connection:
            changed = connection.execute(jobs.update().where(*_own(claim)).values(values))
            return changed.rowcount == 1

    def _end(
        self,
        connection: sql.Connection,
        which: sql.ColumnElement[bool],
        state: State,
        **values: Any,
    ) -> int:
        """End jobs that have not ended, and return how many."""
        now = self.database.now(connection)
        keep = self.settings.retention_hours * 3600
        ended = jobs.update().where(which, jobs.c.state.in_(_ACTIVE))
        return connection.execute(
            ended.values(
                state=state,
                completed_at=now,
                expires_at=now + keep if keep else None,
                worker=None,
                **values,
            )
        ).rowcount

    def _with_key(self, connection: sql.Connection, owner: str, key: str | None) -> Job | None:
        if key is None:
            return None
        row = connection.execute(
            jobs.select().where(jobs.c.owner == owner, jobs.c.idempotency_key == key)
        ).one_or_none()
        return None if row is None else _job(row)


def _own(claim: Claim) -> tuple[sql.ColumnElement[bool], ...]:
    return (
        jobs.c.id == claim.job.id,
        jobs.c.state == "in_progress",
        jobs.c.worker == claim.worker,
        jobs.c.attempts == claim.job.attempts,
    )


def _number(connection: sql.Connection, *conditions: sql.ColumnElement[bool]) -> int:
    query = sql.select(sql.func.count()).select_from(jobs).where(*conditions)
    return int(connection.execute(query).scalar_one())


_SAME = [
    each.name for each in fields(Job) if each.name not in {"request", "error", "reference_use"}
]


def _job(row: sql.Row[Any]) -> Job:
    error = None if row.error_code is None else JobError(row.error_code, row.error_message)
    use = None if row.reference_use is None else ReferenceUse(**json.loads(row.reference_use))
    return Job(
        request=VideoRequest.model_validate_json(row.request),
        error=error,
        reference_use=use,
        **{name: getattr(row, name) for name in _SAME},
    )
