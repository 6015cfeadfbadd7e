"""Clients that ask over HTTP while service and workers are killed: all jobs end exactly once."""

import http.server
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import sqlalchemy as sql
from standardwebhooks import Webhook

from tests.serving.jobs.standins import NamingMaker
from vap.serving.jobs.queue import Jobs
from vap.serving.jobs.worker import Worker
from vap.serving.keys import Keys
from vap.serving.serve import serve
from vap.serving.settings import Settings

_ENDED = "('completed', 'failed', 'canceled')"
_SQLITE = """
CREATE TRIGGER note_end AFTER UPDATE OF state ON jobs
WHEN OLD.state IN ENDED OR NEW.state IN ENDED
BEGIN INSERT INTO ends VALUES (NEW.id); END
"""
_POSTGRESQL = """
CREATE FUNCTION note() RETURNS trigger AS $$
BEGIN INSERT INTO ends VALUES (NEW.id); RETURN NEW; END $$ LANGUAGE plpgsql;
CREATE TRIGGER note_end AFTER UPDATE OF state ON jobs FOR EACH ROW
WHEN (OLD.state IN ENDED OR NEW.state IN ENDED) EXECUTE FUNCTION note()
"""


@dataclass(frozen=True)
class Scale:
    """How much happens."""

    jobs: int
    clients: int
    workers: int
    kills: int
    seconds: float  # until which all must have ended, and all clients heard


class Fleet:
    """A service and its workers, in processes of their own."""

    def __init__(self, settings: Settings, workers: int) -> None:
        self._settings = settings.model_dump_json()
        self._roles = ["serve", *["work"] * workers]
        self._processes = [self._started(role) for role in self._roles]

    def kill_one(self, chance: random.Random) -> None:
        """Kill a process as the system would, and start another in its place."""
        place = chance.randrange(len(self._roles))
        self._processes[place].kill()
        self._processes[place].wait()
        self._processes[place] = self._started(self._roles[place])

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(30)

    def _started(self, role: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.serving.chaos", role, self._settings]
        return subprocess.Popen(command)


@dataclass
class Heard:
    """What a receiver of webhooks heard: states by job, each signature checked."""

    url: str
    states: dict[str, set[str]] = field(default_factory=dict)


@contextmanager
def receiver(secret: str) -> Iterator[Heard]:
    """Receive webhooks; every fourth is answered by an error, so that it comes again."""
    heard, count = Heard(""), iter(range(1 << 30))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            job = Webhook(secret).verify(body, dict(self.headers))["data"]
            heard.states.setdefault(job["id"], set()).add(job["status"])
            self.send_response(500 if next(count) % 4 == 3 else 204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        heard.url = f"http://127.0.0.1:{server.server_port}/"
        yield heard
        server.shutdown()


class Client:
    """Asks again while nobody answers, as a client does whose connection broke."""

    def __init__(self, settings: Settings) -> None:
        self._http = httpx2.Client(base_url=f"http://127.0.0.1:{settings.port}", timeout=30)

    def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        end = time.monotonic() + 90
        while True:
            try:
                answer = self._http.request(method, path, **options)
                if answer.status_code < 500:
                    return answer
            except httpx2.HTTPError:
                pass
            assert time.monotonic() < end, f"no answer to {method} {path}"
            time.sleep(0.1)

    def create(self, image: str, key: str, webhook: str) -> str:
        """Ask for a video, twice with one key, and return its id."""
        body = {"prompt": "chaos", "image": image, "webhook_url": webhook}
        headers = {"Idempotency-Key": key}
        answers = [self.ask("POST", "/v1/videos", json=body, headers=headers) for _ in range(2)]
        first, second = (answer.json()["id"] for answer in answers)
        assert first == second
        return first


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def run_chaos(settings: Settings, scale: Scale, image: Path, seed: int = 0) -> Counter[str]:
    """Let it happen, check what came of it, and return the numbers of its jobs."""
    queue = Jobs(settings)
    _note_ends(queue)
    secret = Keys(queue.database).webhook_secret("")
    ids: list[str] = []
    fleet = Fleet(settings, scale.workers)
    try:
        with receiver(secret) as heard:
            upload = Client(settings).ask("POST", "/v1/uploads", files={"file": image.read_bytes()})
            arguments = (settings, scale, upload.json()["id"], heard.url, ids)
            clients = [
                threading.Thread(target=_client, args=(number, *arguments))
                for number in range(scale.clients)
            ]
            for client in clients:
                client.start()
            _kill(fleet, queue, scale, random.Random(seed))
            for client in clients:
                client.join()
            end = time.monotonic() + scale.seconds
            _wait(lambda: not any(_active(queue)), end)
            _wait(lambda: set(ids) == set(heard.states), end)
            return _checked(queue, Client(settings), ids, scale, heard)
    finally:
        fleet.stop()
        queue.database.close()


def _client(
    number: int, settings: Settings, scale: Scale, image: str, webhook: str, ids: list[str]
) -> None:
    client, chance = Client(settings), random.Random(number)
    for place in range(scale.jobs // scale.clients):
        job = client.create(image, f"{number}-{place}", webhook)
        ids.append(job)
        if place % 8 == 3:
            time.sleep(chance.random())
            client.ask("POST", f"/v1/videos/{job}/cancel")


def _kill(fleet: Fleet, queue: Jobs, scale: Scale, chance: random.Random) -> None:
    """Kill processes, each time after some of the jobs have ended and while some run."""
    for kill in range(scale.kills):
        enough = (kill + 0.5) / scale.kills * scale.jobs * 0.8

        def due(enough: float = enough) -> bool:
            ended = sum(queue.counts().values()) - sum(_active(queue))
            return ended >= enough and _active(queue)[1] > 0

        _wait(due, time.monotonic() + 60)
        time.sleep(chance.random() * 0.2)
        fleet.kill_one(chance)


def _wait(condition: Callable[[], bool], end: float) -> None:
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)


def _active(queue: Jobs) -> tuple[int, int]:
    counts = queue.counts()
    return counts["queued"], counts["in_progress"]


def _checked(
    queue: Jobs, client: Client, ids: list[str], scale: Scale, heard: Heard
) -> Counter[str]:
    jobs = queue.list(limit=2 * scale.jobs)
    assert sorted(job.id for job in jobs) == sorted(ids)
    assert len(ids) == scale.jobs // scale.clients * scale.clients
    assert all(job.ended for job in jobs), queue.counts()
    with queue.database.read() as connection:
        ends = Counter(connection.scalars(sql.text("SELECT id FROM ends")))
    assert ends == Counter(ids)
    assert heard.states == {job.id: {job.state} for job in jobs}
    for job in jobs:
        content = client.ask("GET", f"/v1/videos/{job.id}/content")
        assert (content.status_code == 200) == (job.state == "completed")
        if job.state == "completed":
            assert content.text.split()[0] == job.id
        elif job.state == "failed":
            assert job.error is not None
            assert job.error.code == "worker_died"
    restarted = sum(job.attempts > 1 for job in jobs)
    return Counter(job.state for job in jobs) + Counter(restarted=restarted)


def _note_ends(queue: Jobs) -> None:
    """Let the database itself note each end, and each change after one."""
    trigger = _SQLITE if queue.database.sqlite else _POSTGRESQL
    with queue.database.write() as connection:
        connection.execute(sql.text("CREATE TABLE ends (id VARCHAR(80))"))
        connection.execute(sql.text(trigger.replace("ENDED", _ENDED)))


def scale_of(standard: Scale) -> Scale:
    """The standard scale, or that of ``VAP_CHAOS``: jobs,clients,workers,kills,seconds."""
    given = os.environ.get("VAP_CHAOS")
    if given is None:
        return standard
    *counts, seconds = given.split(",")
    return Scale(*map(int, counts), float(seconds))


def main(role: str, settings: str) -> None:
    shared = Settings.model_validate(json.loads(settings))
    if role == "serve":
        serve(shared, worker=False)
    else:
        Worker(shared, NamingMaker).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
