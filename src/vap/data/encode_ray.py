"""Encode on many machines: Ray Data distributes the numbers of the missing shards.

Every machine needs the package, the model and the folders of clips and shards under the same
paths. If a machine is lost, Ray gives its current shard to another.
"""

from __future__ import annotations

from typing import Any

from vap.data.encode import encode_shard
from vap.data.encode_job import EncodeJob
from vap.extras import require
from vap.parallel.ray_cluster import ray_cluster

# Less than one, so that workers on every core still leave room for Ray Data's own tasks.
_CPUS = 0.9
_PURPOSE = "encode on many machines"


class ShardWorker:
    """Encodes shards by their numbers in a process of a cluster."""

    def __init__(self, job: EncodeJob) -> None:
        self._job = job

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Encode the shard ``row["shard"]`` unless it is there by now."""
        index = int(row["shard"])
        if index in self._job.missing():
            encode_shard(self._job, index)
        return row


def run_on_ray(job: EncodeJob, *, address: str = "auto", workers: int | None = None) -> None:
    """Encode the missing shards on a cluster; ``local`` starts one, workers default to its GPUs."""
    require("ray", extra="ray", purpose=_PURPOSE)  # also where nothing is left to do
    missing = job.missing()
    if missing:
        with ray_cluster(address, purpose=_PURPOSE) as (ray, data):
            # Of the cluster: the machine that asks may have none.
            gpus = int(ray.cluster_resources().get("GPU", 0))
            shards = data.from_items(
                [{"shard": shard} for shard in missing], override_num_blocks=len(missing)
            )
            shards.map(
                ShardWorker,
                fn_constructor_args=(job,),
                concurrency=min(workers or max(1, gpus), len(missing)),
                num_cpus=_CPUS,
                num_gpus=1 if gpus else 0,
            ).materialize()
