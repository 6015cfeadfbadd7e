import http.server
import json
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from standardwebhooks import Webhook

from vap.serving.jobs.queue import Jobs
from vap.serving.jobs.request import VideoRequest
from vap.serving.keys import Keys
from vap.serving.outbound import Outbound
from vap.serving.webhooks import Webhooks

REQUEST = VideoRequest(image="upload_00000000")


@pytest.fixture
def receiver() -> Iterator[SimpleNamespace]:
    """A server on loopback that keeps what it receives, and answers as it is told."""
    received, answers = [], []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((body, dict(self.headers)))
            self.send_response(answers.pop(0) if answers else 204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/hook"
        yield SimpleNamespace(url=url, received=received, answers=answers)
        server.shutdown()
        thread.join()


def webhooks(queue: Jobs, *, private: bool = True, waits: tuple[float, ...] = (0, 0)) -> Webhooks:
    outbound = Outbound(allow_private=private)
    return Webhooks(queue, Keys(queue.database), outbound, lambda job: {"id": job.id}, waits)


def deliver(sender: Webhooks) -> list[str]:
    claimed = sender.claim()
    for job in claimed:
        sender.deliver(job)
    return claimed


@pytest.mark.parametrize("owner", ["", "somebody"])
def test_an_ended_job_is_told_once_and_signed(
    queue: Jobs, receiver: SimpleNamespace, owner: str
) -> None:
    sender = webhooks(queue)
    job = queue.submit(REQUEST, owner=owner, webhook_url=receiver.url)
    queue.submit(REQUEST)
    assert deliver(sender) == []
    queue.cancel(job.id)
    assert deliver(sender) == [job.id]
    assert deliver(sender) == []
    [(body, headers)] = receiver.received
    told = Webhook(Keys(queue.database).webhook_secret(owner)).verify(body, headers)
    assert (told["type"], told["data"]) == ("video.canceled", {"id": job.id})
    found = sender.get(job.id)
    assert found is not None
    assert (found.attempts, found.next_at, found.problem) == (1, None, None)
    assert found.delivered_at is not None


def test_a_delivery_is_tried_again_by_another_service(
    queue: Jobs, receiver: SimpleNamespace
) -> None:
    receiver.answers += [500, 302]
    job = queue.submit(REQUEST, webhook_url=receiver.url)
    queue.cancel(job.id)
    for _ in range(3):  # a service each, as after restarts
        assert deliver(webhooks(queue)) == [job.id]
    assert deliver(webhooks(queue)) == []
    assert len({headers["webhook-id"] for _, headers in receiver.received}) == 1
    found = webhooks(queue).get(job.id)
    assert found is not None
    assert found.attempts == 3
    assert found.delivered_at is not None


def test_a_delivery_is_given_up_after_the_last_wait(queue: Jobs, receiver: SimpleNamespace) -> None:
    receiver.answers += [500] * 9
    job = queue.submit(REQUEST, webhook_url=receiver.url)
    queue.cancel(job.id)
    while deliver(webhooks(queue)):
        pass
    found = webhooks(queue).get(job.id)
    assert found is not None
    assert (len(receiver.received), found.next_at, found.delivered_at) == (3, None, None)
    assert "500" in str(found.problem)


def test_one_service_at_a_time_tries_a_delivery(queue: Jobs, receiver: SimpleNamespace) -> None:
    job = queue.submit(REQUEST, webhook_url=receiver.url)
    queue.cancel(job.id)
    assert webhooks(queue).claim() == [job.id]
    assert webhooks(queue).claim() == []


def test_private_addresses_are_not_asked(queue: Jobs, receiver: SimpleNamespace) -> None:
    url = receiver.url.replace("127.0.0.1", "localhost")
    job = queue.submit(REQUEST, webhook_url=url)
    queue.cancel(job.id)
    sender = webhooks(queue, private=False)
    deliver(sender)
    assert receiver.received == []
    found = sender.get(job.id)
    assert found is not None
    assert "localhost" in str(found.problem)


def test_a_deleted_job_tells_nobody(queue: Jobs, receiver: SimpleNamespace) -> None:
    job = queue.submit(REQUEST, webhook_url=receiver.url)
    queue.cancel(job.id)
    sender = webhooks(queue)
    [claimed] = sender.claim()
    queue.delete(job.id)
    sender.deliver(claimed)
    assert (receiver.received, sender.get(job.id)) == ([], None)


def test_bodies_are_json(queue: Jobs, receiver: SimpleNamespace) -> None:
    job = queue.submit(REQUEST, webhook_url=receiver.url)
    queue.cancel(job.id)
    deliver(webhooks(queue))
    [(body, headers)] = receiver.received
    assert headers["Content-Type"] == "application/json"
    assert set(json.loads(body)) == {"type", "timestamp", "data"}
