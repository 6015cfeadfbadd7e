"""Clients that submit, workers that are killed: all jobs must end exactly once."""

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import sqlalchemy as sql

from tests.serving.jobs.standins import NamingMaker
from vap.serving.jobs.queue import Jobs
from vap.serving.jobs.request import VideoRequest
from vap.serving.jobs.worker import Worker
from vap.serving.media_store import MediaStore
from vap.serving.settings import Settings, read_settings

_SQLITE = """
CREATE TRIGGER note_end AFTER UPDATE OF state ON jobs
WHEN OLD.state IN ('completed', 'failed', 'canceled')
    OR NEW.state IN ('completed', 'failed', 'canceled')
BEGIN INSERT INTO ends VALUES (NEW.id); END
"""
_POSTGRESQL = """
CREATE FUNCTION note() RETURNS trigger AS $$
BEGIN INSERT INTO ends VALUES (NEW.id); RETURN NEW; END $$ LANGUAGE plpgsql;
CREATE TRIGGER note_end AFTER UPDATE OF state ON jobs FOR EACH ROW
WHEN (OLD.state IN ('completed', 'failed', 'canceled')
    OR NEW.state IN ('completed', 'failed', 'canceled'))
EXECUTE FUNCTION note()
"""


@dataclass(frozen=True)
class Scale:
    """How much happens."""

    jobs: int
    clients: int
    workers: int
    kills: int
    seconds: float  # until which all must have ended


class Fleet:
    """Workers in processes of their own."""

    def __init__(self, settings: Settings, count: int) -> None:
        self._environment = {
            **os.environ,
            "VAP_SERVE_DATA": str(settings.data),
            "VAP_SERVE_DATABASE": settings.database_url,
            "VAP_SERVE_LEASE_SECONDS": str(settings.lease_seconds),
        }
        self.workers = [self._started() for _ in range(count)]

    def kill_one(self, chance: random.Random) -> None:
        """Kill a worker as the system would, and start another in its place."""
        place = chance.randrange(len(self.workers))
        self.workers[place].kill()
        self.workers[place].wait()
        self.workers[place] = self._started()

    def stop(self) -> None:
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.wait(30)

    def _started(self) -> subprocess.Popen:
        command = [sys.executable, "-m", "tests.serving.jobs.chaos"]
        return subprocess.Popen(command, env=self._environment)


@contextmanager
def fleet(settings: Settings, count: int):
    """Start workers, and stop those that are there in the end."""
    running = Fleet(settings, count)
    try:
        yield running
    finally:
        running.stop()


def run_chaos(settings: Settings, scale: Scale, seed: int = 0) -> Counter:
    """Let it happen, check what came of it, and return the numbers of its jobs."""
    queue, media = Jobs(settings), MediaStore(settings.media_url)
    _note_ends(queue)
    ids: list[str] = []
    with fleet(settings, scale.workers) as running:
        clients = [
            threading.Thread(target=_submit, args=(queue, each, scale, ids))
            for each in range(scale.clients)
        ]
        for client in clients:
            client.start()
        _kill(running, queue, scale, random.Random(seed))
        for client in clients:
            client.join()
        end = time.monotonic() + scale.seconds
        while sum(_active(queue)) and time.monotonic() < end:
            time.sleep(0.2)
    return _checked(queue, media, ids, scale)


def _submit(queue: Jobs, client: int, scale: Scale, ids: list[str]) -> None:
    chance = random.Random(client)
    for place in range(scale.jobs // scale.clients):
        request = VideoRequest(prompt="chaos", image="file_00000000", seed=place)
        options = {"owner": str(client), "idempotency_key": str(place)}
        job = queue.submit(request, priority=chance.randrange(2), **options)
        # As a client does whose connection broke before the answer.
        assert queue.submit(request, **options).id == job.id
        ids.append(job.id)
        if place % 8 == 3:
            time.sleep(chance.random())
            queue.cancel(job.id)


def _kill(running: Fleet, queue: Jobs, scale: Scale, chance: random.Random) -> None:
    """Kill workers, each time after some of the jobs have ended."""
    for kill in range(scale.kills):
        enough = (kill + 0.5) / scale.kills * scale.jobs * 0.8
        end = time.monotonic() + 60
        while (_ended(queue) < enough or not _active(queue)[1]) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(chance.random() * 0.2)
        running.kill_one(chance)


def _ended(queue: Jobs) -> int:
    return sum(queue.counts().values()) - sum(_active(queue))


def _active(queue: Jobs) -> tuple[int, int]:
    counts = queue.counts()
    return counts["queued"], counts["in_progress"]


def _checked(queue: Jobs, media: MediaStore, ids: list[str], scale: Scale) -> Counter:
    jobs = queue.list(limit=2 * scale.jobs)
    assert sorted(job.id for job in jobs) == sorted(ids)
    assert len(ids) == scale.jobs // scale.clients * scale.clients
    assert all(job.ended for job in jobs), queue.counts()
    with queue.database.read() as connection:
        ends = Counter(connection.scalars(sql.text("SELECT id FROM ends")))
    assert ends == Counter(ids)
    processes = set()
    for job in jobs:
        assert (job.video is not None) == (job.state == "completed")
        if job.video is not None:
            with media.open(job.video) as file:
                named, process, _ = file.read().decode().split()
            assert named == job.id
            processes.add(int(process))
        elif job.state == "failed":
            assert job.error.code == "worker_died"
    orphans = [each for process in processes if (each := _model_process(process)) is not None]
    assert not psutil.wait_procs(orphans, timeout=30)[1]
    queue.database.close()
    restarted = sum(job.attempts > 1 for job in jobs)
    return Counter(job.state for job in jobs) + Counter(restarted=restarted)


def _model_process(process: int) -> psutil.Process | None:
    """A model process that is still there."""
    try:
        found = psutil.Process(process)
        return found if "multiprocessing" in " ".join(found.cmdline()) else None
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return None


def _note_ends(queue: Jobs) -> None:
    with queue.database.write() as connection:
        connection.execute(sql.text("CREATE TABLE ends (id VARCHAR(80))"))
        connection.execute(sql.text(_SQLITE if queue.database.sqlite else _POSTGRESQL))


def scale_of(standard: Scale) -> Scale:
    """The standard scale, or that of ``VAP_CHAOS``: jobs,clients,workers,kills,seconds."""
    given = os.environ.get("VAP_CHAOS")
    if given is None:
        return standard
    *counts, seconds = given.split(",")
    return Scale(*map(int, counts), float(seconds))


if __name__ == "__main__":
    Worker(read_settings(Path(os.devnull)), NamingMaker).run()
