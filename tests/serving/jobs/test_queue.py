import threading
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from vap.serving.jobs import database
from vap.serving.jobs.job import Claim, JobError, Made
from vap.serving.jobs.queue import Jobs, QueueFullError
from vap.serving.jobs.request import VideoRequest
from vap.serving.settings import Settings

REQUEST = VideoRequest(prompt="a cat", image="file_00000000")
MADE = Made("videos/x/1/video.mp4", None, 2.0, "96x64")
ERROR = JobError("internal_error", "It broke.")


def end_lease(queue: Jobs, worker: str) -> None:
    """As if a worker had given no sign of life for long."""
    with queue.database.write() as connection:
        of_worker = database.jobs.update().where(database.jobs.c.worker == worker)
        connection.execute(of_worker.values(lease_until=0))


class QueueMachine(RuleBasedStateMachine):
    """Any order of clients, workers and deaths, beside what should come of it."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Jobs(Settings(database="sqlite://"))
        self.states: dict[str, str] = {}
        self.priorities: dict[str, int] = {}
        self.attempts: dict[str, int] = {}
        self.claims: list[Claim] = []
        self.owners: dict[str, Claim] = {}  # whose claim counts, of running jobs

    def teardown(self) -> None:
        self.queue.database.close()

    def waiting(self) -> list[str]:
        found = [job for job, state in self.states.items() if state == "queued"]
        return sorted(found, key=lambda job: -self.priorities[job])

    @rule(priority=st.integers(-1, 1))
    def submit(self, priority):
        job = self.queue.submit(REQUEST, priority=priority)
        assert job.state == "queued"
        self.states[job.id], self.priorities[job.id] = "queued", priority
        self.attempts[job.id] = 0

    @rule(worker=st.sampled_from("ABC"))
    def claim(self, worker):
        claim = self.queue.claim(worker)
        if not self.waiting():
            assert claim is None
            return
        assert claim.job.id == self.waiting()[0]
        self.attempts[claim.job.id] += 1
        assert claim.job.attempts == self.attempts[claim.job.id]
        self.states[claim.job.id] = "in_progress"
        self.owners[claim.job.id] = claim
        self.claims.append(claim)

    @rule(data=st.data(), how=st.sampled_from(["complete", "fail", "note", "release"]))
    def act(self, data, how):
        """A worker acts on a claim, which may be an old one."""
        if not self.claims:
            return
        claim = data.draw(st.sampled_from(self.claims))
        mine = self.owners.get(claim.job.id) is claim
        if how == "complete":
            done = self.queue.complete(claim, MADE)
        elif how == "fail":
            done = self.queue.fail(claim, ERROR)
        elif how == "note":
            done = self.queue.note_progress(claim, progress=50, stage="generate")
        else:
            done = self.queue.release(claim)
        assert done == mine
        if mine and how != "note":
            del self.owners[claim.job.id]
            ends = {"complete": "completed", "fail": "failed", "release": "queued"}
            self.states[claim.job.id] = ends[how]
            self.attempts[claim.job.id] -= how == "release"

    @rule(data=st.data())
    def cancel(self, data):
        if not self.states:
            return
        job = data.draw(st.sampled_from(list(self.states)))
        canceled = self.queue.cancel(job)
        if self.states[job] in {"queued", "in_progress"}:
            self.states[job] = "canceled"
            self.owners.pop(job, None)
        assert canceled.state == self.states[job]

    @rule(worker=st.sampled_from("ABC"))
    def die(self, worker):
        end_lease(self.queue, worker)
        self.queue.sweep()
        for job, claim in list(self.owners.items()):
            if claim.worker == worker:
                del self.owners[job]
                self.states[job] = "failed" if self.attempts[job] >= 3 else "queued"

    @invariant()
    def as_expected(self):
        jobs = self.queue.list(order="asc", limit=1000)
        assert {job.id: job.state for job in jobs} == self.states
        waiting = self.waiting()
        for job in jobs:
            place = waiting.index(job.id) if job.id in waiting else None
            assert self.queue.position(job) == place
            assert (job.completed_at is not None) == job.ended
            assert (job.error is not None) == (job.state == "failed")
            assert (job.video is not None) == (job.state == "completed")


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_an_idempotency_key_gives_the_same_job_to_the_same_owner_only(queue):
    first = queue.submit(REQUEST, owner="a", idempotency_key="k")
    assert queue.submit(REQUEST, owner="a", idempotency_key="k") == first
    assert queue.submit(REQUEST, owner="b", idempotency_key="k").id != first.id
    other = REQUEST.model_copy(update={"prompt": "a dog"})
    with pytest.raises(ValueError, match="'k'"):
        queue.submit(other, owner="a", idempotency_key="k")


def test_submissions_at_the_same_moment_with_one_key_are_one_job(queue):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(queue.submit(REQUEST, idempotency_key="k").id))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_jobs_are_listed_by_owner_in_pages(queue):
    ids = [queue.submit(REQUEST, owner="a").id for _ in range(5)]
    queue.submit(REQUEST, owner="b")
    assert [job.id for job in queue.list("a", limit=2)] == [ids[4], ids[3]]
    assert [job.id for job in queue.list("a", limit=2, after=ids[3])] == [ids[2], ids[1]]
    assert [job.id for job in queue.list("a", after=ids[2], order="asc")] == ids[3:]
    assert len(queue.list()) == 6


def test_a_full_queue_refuses(settings):
    queue = Jobs(settings.model_copy(update={"max_queued": 1}))
    queue.submit(REQUEST)
    with pytest.raises(QueueFullError):
        queue.submit(REQUEST)


def test_a_worker_takes_jobs_of_its_models_only(settings):
    queue = Jobs(settings.model_copy(update={"models": ("wan", "vap-mini")}))
    job = queue.submit(REQUEST)
    assert job.model == "wan"
    assert Jobs(settings).claim("A") is None
    assert queue.claim("A").job.id == job.id


def test_a_beat_extends_the_lease_and_a_silent_worker_is_off_the_list(queue):
    queue.submit(REQUEST)
    claim = queue.claim("A")
    end_lease(queue, "A")
    queue.beat("A", "here")
    queue.sweep()
    assert queue.still_mine(claim)
    assert [each["id"] for each in queue.workers()] == ["A"]
    with queue.database.write() as connection:
        connection.execute(database.workers.update().values(seen_at=0))
    queue.sweep()
    assert not queue.workers()


def test_a_job_keeps_all_that_was_asked(queue):
    request = VideoRequest(
        image="file_00000000",
        references=({"effect": "burn"}, {"upload": "file_11111111"}),
        size="96x64",
        seed=7,
    )
    job = queue.submit(
        request, owner="o", priority=3, webhook_url="https://x.test/", remixed_from="video_1"
    )
    assert job == queue.get(job.id)
    assert job.request == request
    assert (job.seed, job.size, job.priority, job.owner) == (7, "96x64", 3, "o")
    assert replace(job, state="completed").ended


def test_unknown_jobs_are_key_errors(queue):
    for call in (queue.get, queue.cancel, queue.delete):
        with pytest.raises(KeyError):
            call("video_none")
