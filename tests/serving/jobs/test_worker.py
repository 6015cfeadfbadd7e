import threading
import time
from contextlib import contextmanager

import pytest
from sqlalchemy.exc import OperationalError

from tests.serving.jobs.standins import NamingMaker
from tests.serving.jobs.test_queue import end_lease
from vap.serving.jobs import worker as worker_module
from vap.serving.jobs.job import Job, Made
from vap.serving.jobs.queue import Jobs
from vap.serving.jobs.request import VideoRequest
from vap.serving.jobs.worker import Worker
from vap.serving.media_store import MediaStore

pytestmark = pytest.mark.slow  # processes of their own


@pytest.fixture
def media(settings) -> MediaStore:
    return MediaStore(settings.media_url)


@contextmanager
def running(settings):
    """A running worker whose model is a stand-in."""
    started = Worker(settings, NamingMaker)
    thread = threading.Thread(target=started.run)
    thread.start()
    try:
        yield started
    finally:
        started.stop()
        thread.join()


@pytest.fixture
def worker(settings):
    with running(settings) as started:
        yield started


def submitted(queue, prompt: str) -> str:
    return queue.submit(VideoRequest(prompt=prompt, image="file_00000000")).id


def once(condition, seconds: float = 60):
    """Wait until a condition is true, and return its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("it did not come true in time")


def ended(queue, job_id: str) -> Job:
    return once(lambda: (job := queue.get(job_id)).ended and job)


def test_a_worker_makes_videos_and_its_process_outlives_no_crash(queue, media, worker):
    ids = {what: submitted(queue, what) for what in ("a", "b", "input", "kill", "c", "memory")}
    jobs = {what: ended(queue, job_id) for what, job_id in ids.items()}
    words = {}
    for what in ("a", "b", "c"):
        job = jobs[what]
        assert (job.state, job.progress, job.size, job.seconds) == ("completed", 100, "4x4", 1.0)
        assert media.exists(job.thumbnail)
        with media.open(job.video) as file:
            words[what] = file.read().decode().split()
        assert words[what][0] == job.id
    # One process for the first two, and a new one after the crash.
    assert words["a"][1] == words["b"][1] != words["c"][1]
    assert [words[what][2] for what in ("a", "b", "c")] == ["1", "2", "1"]
    errors = {what: jobs[what].error for what in ("input", "kill", "memory")}
    assert {what: error.code for what, error in errors.items()} == {
        "input": "invalid_request",
        "kill": "model_process_died",
        "memory": "out_of_memory",
    }
    assert errors["input"].message == "image.png is no image."
    assert len(queue.workers()) == 1


def test_a_running_job_is_canceled_and_the_model_stays_loaded(queue, media, worker):
    long = submitted(queue, "long")
    assert media.exists(once(lambda: queue.get(long).preview))
    assert queue.cancel(long).state == "canceled"
    after = ended(queue, submitted(queue, "a"))
    assert queue.get(long).state == "canceled"
    assert not queue.get(long).video
    with media.open(after.video) as file:
        assert file.read().decode().split()[2] == "1"


def test_a_model_that_does_not_answer_a_cancellation_is_killed(queue, worker, monkeypatch):
    monkeypatch.setattr(worker_module, "_PATIENCE", 0.1)
    stuck = submitted(queue, "stuck")
    once(lambda: queue.get(stuck).stage == "generate")
    queue.cancel(stuck)
    assert ended(queue, submitted(queue, "a")).state == "completed"


def test_a_job_that_takes_too_long_fails(queue, settings):
    with running(settings.model_copy(update={"job_seconds": 0.5})):
        assert ended(queue, submitted(queue, "stuck")).error.code == "timed_out"


def test_a_worker_that_was_taken_for_dead_changes_nothing(queue, media, worker):
    long = submitted(queue, "long")
    once(lambda: queue.get(long).stage == "generate")
    end_lease(queue, worker.id)
    queue.sweep()
    claim = queue.claim("another")
    assert claim.job.id == long
    queue.beat("another", "elsewhere")
    assert ended(queue, submitted(queue, "a")).state == "completed"
    assert queue.complete(claim, Made("videos/x", None, 1.0, "4x4"))
    assert queue.get(long).attempts == 2
    assert not media.exists(f"videos/{long}/1/video.mp4")


def test_a_worker_waits_for_a_database_that_is_gone(queue, worker, monkeypatch):
    fails = iter([True, True])

    def complete(*arguments):
        if next(fails, False):
            raise OperationalError("UPDATE jobs", {}, ConnectionError("gone"))
        return Jobs.complete(*arguments)

    monkeypatch.setattr(worker._jobs, "complete", lambda *each: complete(worker._jobs, *each))
    assert ended(queue, submitted(queue, "a")).state == "completed"
    assert next(fails, None) is None


def test_media_that_cannot_be_written_fail_the_job_and_not_the_worker(queue, worker, monkeypatch):
    put = MediaStore.put

    def full(store, key, source):
        if source.name == "video.mp4" and not refused:
            refused.append(key)
            raise OSError(28, "No space left on device")
        put(store, key, source)

    refused = []
    monkeypatch.setattr(MediaStore, "put", full)
    assert ended(queue, submitted(queue, "a")).error.code == "internal_error"
    assert ended(queue, submitted(queue, "b")).state == "completed"


def test_a_worker_that_is_told_to_stop_gives_its_job_back(queue, settings):
    with running(settings):
        long = submitted(queue, "long")
        once(lambda: queue.get(long).preview)
    job = queue.get(long)
    assert (job.state, job.attempts, job.progress, job.preview) == ("queued", 0, 0, None)
    assert not queue.workers()
