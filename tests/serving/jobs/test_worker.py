import threading
import time

import pytest

from tests.serving.jobs.standins import NamingMaker
from vap.serving.jobs.job import Job
from vap.serving.jobs.request import VideoRequest
from vap.serving.jobs.worker import Worker
from vap.serving.media_store import MediaStore


@pytest.fixture
def media(settings) -> MediaStore:
    return MediaStore(settings.media_url)


@pytest.fixture
def worker(settings):
    """A running worker whose model is a stand-in."""
    running = Worker(settings, NamingMaker)
    thread = threading.Thread(target=running.run)
    thread.start()
    yield running
    running.stop()
    thread.join()


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


def test_a_worker_that_is_told_to_stop_gives_its_job_back(queue, settings):
    running = Worker(settings, NamingMaker)
    thread = threading.Thread(target=running.run)
    thread.start()
    long = submitted(queue, "long")
    once(lambda: queue.get(long).stage == "generate")
    running.stop()
    thread.join()
    job = queue.get(long)
    assert (job.state, job.attempts) == ("queued", 0)
    assert not queue.workers()
