"""Tells clients that their jobs have ended: signed as Standard Webhooks, tried until they hear.

Deliveries are rows of the database of the jobs, so they survive a restart, and any service on that
database makes them. A receiver may get one twice, with the same ``webhook-id``.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError
from standardwebhooks import Webhook

from vap.serving.jobs.database import Database, jobs
from vap.serving.jobs.job import ENDED, Job
from vap.serving.jobs.queue import Jobs
from vap.serving.jobs.schema import metadata
from vap.serving.keys import Keys
from vap.serving.outbound import Outbound, OutboundError

_logger = logging.getLogger(__name__)

WAITS = (5, 60, 300, 1800, 7200, 18_000, 36_000, 50_400)
"""Seconds from a failed delivery to the next; after the last of these it is given up."""

_LOOK = 1.0  # seconds between looks for deliveries
_CLAIM = 60.0  # seconds after which a delivery of a service that died is tried by another
_AT_ONCE = 4

deliveries = sql.Table(
    "webhook_deliveries",
    metadata,
    sql.Column("job", sql.String(80), primary_key=True),
    sql.Column("attempts", sql.Integer, nullable=False),
    sql.Column("next_at", sql.Double),  # None where it is delivered or given up
    sql.Column("delivered_at", sql.Double),
    sql.Column("problem", sql.Text),
    sql.Index("webhook_deliveries_due", "next_at"),
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How it went with the webhook of a job."""

    job: str
    attempts: int
    next_at: float | None
    delivered_at: float | None
    problem: str | None


class Webhooks:
    """Delivers the webhooks of ended jobs.

    Args:
        jobs: All jobs.
        keys: Makes the secrets of owners.
        outbound: Asks other hosts.
        shown: Returns what a client is told of a job, in JSON values.
        waits: Seconds from a failed delivery to the next.
    """

    def __init__(
        self,
        jobs: Jobs,
        keys: Keys,
        outbound: Outbound,
        shown: Callable[[Job], dict[str, Any]],
        waits: tuple[float, ...] = WAITS,
    ) -> None:
        self._jobs = jobs
        self._database: Database = jobs.database
        self._keys = keys
        self._outbound = outbound
        self._shown = shown
        self._waits = waits
        self._stopping = threading.Event()

    def run(self) -> None:
        """Deliver until :meth:`stop` is called."""
        with ThreadPoolExecutor(_AT_ONCE, "webhook") as pool:
            while not self._stopping.is_set():
                try:
                    due = self.claim()
                    list(pool.map(self.deliver, due))
                except Exception:  # whatever happens to one look, the next may succeed
                    _logger.warning("Webhooks could not be delivered.", exc_info=True)
                self._stopping.wait(_LOOK)

    def stop(self) -> None:
        """End :meth:`run` soon."""
        self._stopping.set()

    def claim(self) -> list[str]:
        """Take deliveries that are due: no other service tries them meanwhile."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            fresh = _unnoted().limit(1)
            due = sql.select(deliveries.c.job).where(deliveries.c.next_at <= now).limit(1)
            if connection.scalar(fresh) is None and connection.scalar(due) is None:
                return []
        try:
            return self._claim()
        except IntegrityError:  # another service notes the same jobs at this moment
            return []

    def deliver(self, job_id: str) -> None:
        """Try a delivery that was claimed, and note how it went."""
        try:
            job = self._jobs.get(job_id)
        except KeyError:  # deleted meanwhile
            with self._database.write() as connection:
                connection.execute(deliveries.delete().where(deliveries.c.job == job_id))
            return
        problem = self._send(job)
        with self._database.write() as connection:
            now = self._database.now(connection)
            mine = deliveries.c.job == job_id
            done = connection.scalar(sql.select(deliveries.c.attempts).where(mine)) or 1
            again = self._waits[done - 1] if problem and done <= len(self._waits) else None
            connection.execute(
                deliveries.update()
                .where(mine)
                .values(
                    next_at=None if again is None else now + again,
                    delivered_at=None if problem else now,
                    problem=problem,
                )
            )

    def get(self, job_id: str) -> Delivery | None:
        """Return how it went with the webhook of a job, None before the first attempt."""
        with self._database.read() as connection:
            query = deliveries.select().where(deliveries.c.job == job_id)
            row = connection.execute(query).one_or_none()
        return None if row is None else Delivery(**row._mapping)

    def _claim(self) -> list[str]:
        with self._database.write() as connection:
            now = self._database.now(connection)
            for job_id in connection.scalars(_unnoted().limit(100)).all():
                connection.execute(deliveries.insert().values(job=job_id, attempts=0, next_at=now))
            due = (
                sql.select(deliveries.c.job)
                .where(deliveries.c.next_at <= now)
                .order_by(deliveries.c.next_at)
                .limit(_AT_ONCE)
                .with_for_update(skip_locked=True)
            )
            taken = list(connection.scalars(due))
            connection.execute(
                deliveries.update()
                .where(deliveries.c.job.in_(taken))
                .values(next_at=now + _CLAIM, attempts=deliveries.c.attempts + 1)
            )
        return taken

    def _send(self, job: Job) -> str | None:
        """Send a delivery; return what went wrong, if anything."""
        assert job.webhook_url is not None
        now = datetime.now(UTC)
        body = json.dumps(
            {
                "type": f"video.{job.state}",
                "timestamp": now.isoformat(),
                "data": self._shown(job),
            }
        )
        message_id = f"msg_{job.id}"
        secret = Webhook(self._keys.webhook_secret(job.owner))
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": secret.sign(message_id, now, body),
        }
        try:
            status = self._outbound.post(job.webhook_url, body.encode(), headers)
        except (OutboundError, ValueError) as error:
            return str(error)
        return None if 200 <= status < 300 else f"The answer had status {status}."  # noqa: PLR2004


def _unnoted() -> sql.Select[tuple[str]]:
    """Jobs that have ended and whose webhooks have no delivery yet."""
    return (
        sql.select(jobs.c.id)
        .outerjoin(deliveries, deliveries.c.job == jobs.c.id)
        .where(
            jobs.c.webhook_url.is_not(None),
            jobs.c.state.in_(ENDED),
            deliveries.c.job.is_(None),
        )
    )
