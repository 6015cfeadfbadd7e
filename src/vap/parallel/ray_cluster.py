"""A Ray cluster for the duration of some work."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from vap.extras import require

_PATIENCE = 5.0  # seconds until an address is taken for dead; Ray itself tries for minutes


@contextmanager
def ray_cluster(address: str, *, purpose: str) -> Iterator[tuple[Any, Any]]:
    """Connect to a cluster, unless this process is connected already."""
    ray = require("ray", extra="ray", purpose=purpose)
    data = require("ray.data", extra="ray", purpose=purpose)
    started = not ray.is_initialized()
    if started:
        _check_reachable(address)
        try:
            ray.init(address=address, log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConnectionError(_refusal(address, error)) from error
    try:
        yield ray, data
    finally:
        if started:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Refuse the address of a machine that does not answer; names such as ``auto`` are Ray's."""
    try:
        place = urlsplit(address if "://" in address else f"//{address}")
        if place.hostname is not None and place.port is not None:
            socket.create_connection((place.hostname, place.port), _PATIENCE).close()
    except (OSError, ValueError) as error:
        raise ConnectionError(_refusal(address, error)) from error


def _refusal(address: str, error: Exception) -> str:
    return (
        f"There is no Ray cluster at {address!r} ({error}). Start one with `ray start --head` and "
        "give its address, or 'local' for this machine alone."
    )
