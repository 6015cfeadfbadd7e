import asyncio
import threading
from collections.abc import Collection
from typing import Any

from vap.serving.api.status import Statuses
from vap.serving.jobs.job import Job
from vap.serving.jobs.queue import Jobs
from vap.serving.jobs.request import VideoRequest


class SlowJobs:
    """Answers when it may, and notes what it was asked."""

    def __init__(self, jobs: Jobs) -> None:
        self.asked: list[set[str]] = []
        self.may_answer = threading.Event()
        self._jobs = jobs

    def find(self, ids: Collection[str]) -> dict[str, tuple[Job, int | None]]:
        self.asked.append(set(ids))
        assert self.may_answer.wait(60)
        return self._jobs.find(ids)


def test_requests_that_wait_share_the_next_query(queue: Jobs) -> None:
    jobs = [queue.submit(VideoRequest(image="upload_" + "0" * 32)) for _ in range(3)]
    slow: Any = SlowJobs(queue)

    async def ask() -> None:
        statuses = Statuses(slow)
        first = asyncio.create_task(statuses.get(jobs[0].id))
        while not slow.asked:
            await asyncio.sleep(0.001)
        ids = [jobs[1].id, jobs[2].id, jobs[2].id, "nothing", jobs[0].id]
        others = [asyncio.create_task(statuses.get(each)) for each in ids]
        gone = asyncio.create_task(statuses.get(jobs[1].id))
        await asyncio.sleep(0)
        gone.cancel()  # a client that left takes the answer from nobody
        slow.may_answer.set()
        assert await first == (jobs[0], 0)
        places = [(jobs[1], 1), (jobs[2], 2), (jobs[2], 2), None, (jobs[0], 0)]
        assert await asyncio.gather(*others) == places
        assert await statuses.get(jobs[1].id) == (jobs[1], 1)

    asyncio.run(ask())
    ids = [each.id for each in jobs]
    assert slow.asked == [{ids[0]}, {*ids, "nothing"}, {ids[1]}]


def test_each_request_of_a_query_fails_with_it_and_later_ones_do_not(queue: Jobs) -> None:
    job = queue.submit(VideoRequest(image="upload_" + "0" * 32))
    broken = True

    class BrokenJobs:
        def find(self, ids: Collection[str]) -> dict[str, tuple[Job, int | None]]:
            if broken:
                raise OSError("The database is away.")
            return queue.find(ids)

    async def ask() -> None:
        nonlocal broken
        jobs: Any = BrokenJobs()
        statuses = Statuses(jobs)
        failed = await asyncio.gather(
            statuses.get(job.id), statuses.get(job.id), return_exceptions=True
        )
        assert [type(each) for each in failed] == [OSError, OSError]
        broken = False
        assert await statuses.get(job.id) == (job, 0)

    asyncio.run(ask())
