"""Videos on many machines: Ray Data distributes requests, actors keep the model loaded.

Every machine needs the package, the models, the inputs and the folder of the batch under the same
paths. A machine that is lost costs the videos that it was working on, which others then make.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from vap.batch.ledger import BatchFolder, Outcome
from vap.batch.requests import BatchRequest
from vap.batch.worker import Worker
from vap.parallel.ray_cluster import ray_cluster

if TYPE_CHECKING:
    from vap.batch.run_batch import Workers

_PURPOSE = "make videos with several workers (--workers 1 needs no Ray)"
_MOST_BLOCKS = 5000  # Ray Data keeps books on each; up to here, each request is one


class RequestActor:
    """A worker in a process of a cluster; ``threads`` are torch's, None leaves one a core."""

    def __init__(
        self, batch: BatchFolder, requests: Sequence[BatchRequest], threads: int | None
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self._worker = Worker(batch)
        self._requests = requests

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Make the request ``row["place"]``, unless an actor that was lost has made it."""
        outcome = self._worker.make_unless_done(self._requests[int(row["place"])])
        return {"outcome": outcome.to_json()}


def make_on_ray(
    batch: BatchFolder, requests: Sequence[BatchRequest], workers: Workers, address: str
) -> Iterator[Outcome]:
    """Make videos on a cluster; the address ``local`` starts one on this machine."""
    with ray_cluster(address, purpose=_PURPOSE) as (ray, data):
        data.DataContext.get_current().enable_progress_bars = False
        gpus = int(ray.cluster_resources().get("GPU", 0))
        count = min(len(requests), workers.count or max(1, gpus))
        places = data.from_items(
            [{"place": place} for place in range(len(requests))],
            override_num_blocks=min(len(requests), _MOST_BLOCKS),
        )
        made = places.map(
            RequestActor,
            fn_constructor_args=(batch, requests, None if gpus else workers.cpus),
            compute=data.ActorPoolStrategy(size=count),
            num_gpus=1 if gpus else 0,
            # A little less than whole cores leaves room for Ray Data's own tasks.
            num_cpus=None if gpus else workers.cpus - 0.1,
        )
        for row in made.iter_rows():
            yield Outcome.from_json(row["outcome"])
