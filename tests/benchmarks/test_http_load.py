import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from benchmarks.http_load import Load, send_load


class Handler(BaseHTTPRequestHandler):
    """Answers with the path, or refuses."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        ok = self.path != "/no" and self.headers["X-Key"] == "open"
        self.send_response(200 if ok else 401)
        self.send_header("Content-Length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    """The address of a server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_each_request_is_sent_once_and_failures_are_counted(address: str) -> None:
    paths = ["/a", "/b", "/no"]
    load = send_load(address, paths, rate=300, seconds=0.2, connections=3, headers=["X-Key: open"])
    assert len(load.latencies) == 60
    assert load.failed == 20
    assert load.seconds >= 59 / 300
    assert send_load(address, paths, rate=300, seconds=0.02, connections=1).failed == 6


def test_percentiles_are_latencies_that_occurred() -> None:
    load = Load(2.0, tuple(float(each) for each in range(1, 201)), 0)
    assert [load.percentile(each) for each in (0, 50, 99, 100)] == [1, 100, 198, 200]
    assert load.rate == 100
