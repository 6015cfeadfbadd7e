"""A Ray cluster for the duration of some work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vap.extras import require


@contextmanager
def ray_cluster(address: str, *, purpose: str) -> Iterator[tuple[Any, Any]]:
    """Connect to a cluster, unless this process is connected already.

    Args:
        address: Of the cluster; ``local`` starts one on this machine for the duration.
        purpose: What Ray is for, should it be missing.

    Yields:
        The packages ``ray`` and ``ray.data``.

    Raises:
        MissingExtraError: If Ray is not installed.
    """
    ray = require("ray", extra="ray", purpose=purpose)
    data = require("ray.data", extra="ray", purpose=purpose)
    started = not ray.is_initialized()
    if started:
        ray.init(address=address, log_to_driver=False)
    try:
        yield ray, data
    finally:
        if started:
            ray.shutdown()
