import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vap.serving.outbound import Outbound, OutboundError, check_url, is_public


@pytest.fixture
def server() -> Iterator[str]:
    """Address of a server on loopback: 10 bytes, and a redirect elsewhere."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302 if self.path == "/moved" else 200)
            self.send_header("Location", "/")
            self.end_headers()
            self.wfile.write(b"0123456789")

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00::1",
        "198.18.0.1",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://example.com/",
        "//example.com/",
        "http://",
        "http://user:word@example.com/",
        "http://example.com:99999/",
        "http://[::1",
        "http://example.com/\r\nHost: other",
        "http://example.com/ü",
        "http://example.com/" + "x" * 3000,
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL"):
        check_url(url)


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_a_value_error(text: str) -> None:
    for url in (text, f"http://{text}"):
        try:
            Outbound().check(url)
        except ValueError:
            continue
        assert check_url(url).hostname


def test_names_that_lead_to_this_machine_are_refused(server: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="localhost"):
        Outbound().post(server, b"", {})
    with pytest.raises(ValueError, match="private"):
        Outbound().check("http://127.0.0.1/")


def test_the_address_that_was_checked_is_asked(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve, asked = socket.getaddrinfo, []

    def once(host: str, *args: Any, **kwargs: Any) -> Any:
        asked.append(host)
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", once)
    Outbound(allow_private=True).download(server, tmp_path / "file", 10)
    assert (tmp_path / "file").read_bytes() == b"0123456789"
    assert asked.count("localhost") == 1


def test_redirects_and_too_much_are_refused(server: str, tmp_path: Path) -> None:
    outbound = Outbound(allow_private=True)
    with pytest.raises(OutboundError, match="302"):
        outbound.download(server + "/moved", tmp_path / "file", 100)
    with pytest.raises(OutboundError, match="large"):
        outbound.download(server, tmp_path / "file", 9)
