"""The state of jobs, read for many requests by one query."""

from __future__ import annotations

import asyncio

import anyio.to_thread

from vap.serving.jobs.job import Job
from vap.serving.jobs.queue import Jobs

_PAUSE = 0.01  # seconds between queries, in which a busy service collects requests


class Statuses:
    """Reads jobs; requests that come while a query runs share the next one.

    So a service that is asked more often has no more queries, and no answer is older than its
    request.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._waiting: dict[str, asyncio.Future[tuple[Job, int | None] | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def get(self, job_id: str) -> tuple[Job, int | None] | None:
        """Return a job and its place in the queue, if it waits; None if there is no such job."""
        if job_id not in self._waiting:
            self._waiting[job_id] = asyncio.get_running_loop().create_future()
        answer = self._waiting[job_id]
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read())
        return await asyncio.shield(answer)  # others may wait for it, too

    async def _read(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            try:
                found = await anyio.to_thread.run_sync(self._jobs.find, list(waiting))
            except Exception as error:  # noqa: BLE001 - each of the requests fails with it
                for answer in waiting.values():
                    answer.set_exception(error)
            else:
                for job_id, answer in waiting.items():
                    answer.set_result(found.get(job_id))
            await asyncio.sleep(_PAUSE)
