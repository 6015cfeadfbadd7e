"""Sends requests at a constant rate, whatever the answers take, and times each from when it is due.

A client that waits for an answer before it sends the next request would not notice a pause.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import uvloop

_LEAD = 0.2  # seconds for the connections to open
_OK = b"HTTP/1.1 200 "


@dataclass(frozen=True, slots=True)
class Load:
    """What came of requests at a constant rate.

    Attributes:
        seconds: From the first request to the last answer.
        latencies: Seconds of each request from the moment that it was due, sorted.
        failed: Answers other than 200.
    """

    seconds: float
    latencies: tuple[float, ...]
    failed: int

    @property
    def rate(self) -> float:
        """Answers in a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """Return the latency that so many percent of the requests do not exceed."""
        return self.latencies[max(0, math.ceil(percent / 100 * len(self.latencies)) - 1)]


def send_load(
    address: str,
    paths: Sequence[str],
    *,
    rate: float,
    seconds: float,
    connections: int,
    headers: Sequence[str] = (),
) -> Load:
    """Ask for paths in turn over connections that stay open."""
    place = urlsplit(address)
    more = "".join(f"{line}\r\n" for line in headers)
    texts = [
        f"GET {path} HTTP/1.1\r\nHost: {place.netloc}\r\n{more}\r\n".encode() for path in paths
    ]
    return uvloop.run(_send(place.hostname, place.port, texts, rate, seconds, connections))


async def _send(
    host: str | None,
    port: int | None,
    texts: Sequence[bytes],
    rate: float,
    seconds: float,
    connections: int,
) -> Load:
    numbers = iter(range(round(rate * seconds)))
    start = time.perf_counter() + _LEAD
    streams = [await asyncio.open_connection(host, port) for _ in range(connections)]
    answers = await asyncio.gather(
        *(_ask(*stream, texts, numbers, start, rate) for stream in streams)
    )
    taken = time.perf_counter() - start
    for _, writer in streams:
        writer.close()
    every = list(itertools.chain.from_iterable(answers))
    latencies = tuple(sorted(latency for latency, _ in every))
    return Load(taken, latencies, sum(not ok for _, ok in every))


async def _ask(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    texts: Sequence[bytes],
    numbers: Iterator[int],
    start: float,
    rate: float,
) -> list[tuple[float, bool]]:
    """Send, on one connection, each request that no other connection has taken."""
    answers = []
    for number in numbers:
        due = start + number / rate
        await asyncio.sleep(due - time.perf_counter())
        writer.write(texts[number % len(texts)])
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
        await reader.readexactly(int(length))
        answers.append((time.perf_counter() - due, head.startswith(_OK)))
    return answers
