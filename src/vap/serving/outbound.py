"""Requests to other hosts: to public addresses only, and to the one that was checked."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

_CHUNK = 1 << 16
_SIX_TO_FOUR = ipaddress.ip_network("2002::/16")  # has an IPv4 address in it, whichever
_LONGEST_URL = 2000


class OutboundError(Exception):
    """Another host could not be asked, or did not answer as it must."""


@dataclass(frozen=True, slots=True)
class Outbound:
    """Asks other hosts. Redirects are not followed.

    Attributes:
        allow_private: Whether addresses of this machine and of private networks may be asked.
        seconds: Most time for a whole exchange.
    """

    allow_private: bool = False
    seconds: float = 15.0

    def check(self, url: str) -> None:
        """Refuse a URL that is none, or whose address shows that it is private.

        Raises:
            ValueError: If it is.
        """
        host = check_url(url).hostname or ""
        try:
            public = is_public(host)
        except ValueError:  # a name, which is resolved when it is asked
            public = True
        if not public and not self.allow_private:
            raise ValueError(f"{host!r} is a private address. Give the address of a public host.")

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Send a body, and return the status.

        Raises:
            OutboundError: If there is no answer.
            ValueError: If the URL or its address is not allowed.
        """
        with self._answer("POST", url, body, headers) as answer:
            return answer.status

    def download(self, url: str, place: Path, most_bytes: int) -> None:
        """Write what is at a URL into a file.

        Raises:
            OutboundError: If there is no answer, another status than 200, or too much.
            ValueError: If the URL or its address is not allowed.
        """
        with self._answer("GET", url, None, {}) as answer, place.open("wb") as file:
            if answer.status != http.HTTPStatus.OK:
                raise OutboundError(f"{url} answered with status {answer.status}.")
            while chunk := answer.read(_CHUNK):
                most_bytes -= len(chunk)
                if most_bytes < 0:
                    raise OutboundError(f"What is at {url} is too large.")
                file.write(chunk)

    @contextmanager
    def _answer(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        parts = check_url(url)
        address = self._address(parts)
        connection = _Pinned(parts, address, self.seconds)
        # A host that sends a byte now and then keeps no thread longer than this.
        timer = threading.Timer(self.seconds, connection.abort)
        timer.start()
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request(method, target, body, {"User-Agent": "video-as-prompt", **headers})
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise OutboundError(f"{parts.hostname} could not be asked: {error!r}.") from error
        finally:
            timer.cancel()
            connection.close()

    def _address(self, parts: SplitResult) -> str:
        """Resolve a host once; the connection goes to this address."""
        assert parts.hostname is not None
        try:
            found = socket.getaddrinfo(parts.hostname, _port(parts), type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise OutboundError(f"The host {parts.hostname!r} is not known.") from error
        addresses = [str(each[4][0]) for each in found]
        refused = [each for each in addresses if not is_public(each)]
        if refused and not self.allow_private:
            raise ValueError(
                f"{parts.hostname!r} is not a public address. Give the address of a public host."
            )
        return addresses[0]


def check_url(url: str) -> SplitResult:
    """Take a URL apart.

    Raises:
        ValueError: If it is not a plain http or https URL.
    """
    allowed = "Give one such as https://example.com/hook."
    if len(url) > _LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"The URL must be at most {_LONGEST_URL} printable ASCII characters.")
    try:
        parts = urlsplit(url)
        _port(parts)
    except ValueError as error:
        raise ValueError(f"{url!r} is not a URL ({error}). {allowed}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is not an http or https URL. {allowed}")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"The URL of {parts.hostname!r} has a user name. Leave it out.")
    return parts


def is_public(address: str) -> bool:
    """Whether anybody on the internet has this IP address."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip in _SIX_TO_FOUR or ip.is_site_local:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


class _Pinned(http.client.HTTPConnection):
    """A connection to one address, which may have any name."""

    def __init__(self, parts: SplitResult, address: str, seconds: float) -> None:
        assert parts.hostname is not None
        super().__init__(parts.hostname, _port(parts), timeout=seconds)
        self._address = address
        self._secure = parts.scheme == "https"
        self.default_port = 443 if self._secure else 80

    def connect(self) -> None:
        raw = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = raw
        if self._secure:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(raw, server_hostname=self.host)

    def abort(self) -> None:
        """End the exchange from another thread."""
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
