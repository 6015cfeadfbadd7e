"""Work on a Ray cluster: Ray Data distributes it, actors keep their models loaded.

Every machine needs the package, the models and the folders under the same paths. If a machine is
lost, Ray gives what it was working on to another.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from vap.extras import require

_MOST_BLOCKS = 5000  # Ray Data keeps books on each; up to here, each item is one
_PATIENCE = 5.0  # seconds until an address is taken for dead; Ray itself tries for minutes


class Actor:
    """What does the work in a process of a cluster."""

    def __init__(
        self, make: Callable[..., Callable[[int], Any]], arguments: tuple[Any, ...], threads: int
    ) -> None:
        if threads:
            import torch

            torch.set_num_threads(threads)
        self._work = make(*arguments)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Do the item ``row["place"]``."""
        return {"result": self._work(int(row["place"]))}


def each_on_ray(
    make: Callable[..., Callable[[int], Any]],
    arguments: tuple[Any, ...],
    count: int,
    *,
    address: str,
    purpose: str,
    workers: int | None = None,
    cpus: int = 1,
) -> Iterator[Any]:
    """Do items 0 … count − 1 on a cluster, and yield each result.

    Args:
        make: Called once in each process; what it returns does the item of a number.
        arguments: Of ``make``.
        count: Items, at least one.
        address: Of the cluster; ``local`` starts one on this machine.
        purpose: What needs Ray, for the error where it is not installed.
        workers: Processes; by default one for each GPU of the cluster.
        cpus: Cores and threads of a process, on a cluster without GPUs.
    """
    with ray_cluster(address, purpose=purpose) as (ray, data):
        data.DataContext.get_current().enable_progress_bars = False
        # Of the cluster: the machine that asks may have none.
        gpus = int(ray.cluster_resources().get("GPU", 0))
        places = data.from_items(
            [{"place": place} for place in range(count)],
            override_num_blocks=min(count, _MOST_BLOCKS),
        )
        done = places.map(
            Actor,
            fn_constructor_args=(make, arguments, 0 if gpus else cpus),
            compute=data.ActorPoolStrategy(size=min(count, workers or max(1, gpus))),
            num_gpus=1 if gpus else 0,
            # A little less than whole cores leaves room for Ray Data's own tasks.
            num_cpus=None if gpus else cpus - 0.1,
        )
        for row in done.iter_rows():
            yield row["result"]


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
