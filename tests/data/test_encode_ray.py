from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from tests.data.encoding import job_of, written_rows
from vap.data.encode import run_job

pytest.importorskip("ray")


@pytest.mark.slow
def test_two_workers_of_a_cluster_write_the_shards_of_one_process(tmp_path, monkeypatch) -> None:
    from vap.data.encode_ray import run_on_ray

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    rows = written_rows(tmp_path / "clips")
    alone = job_of(rows, tmp_path / "clips", tmp_path / "alone")
    run_job(alone)
    shared = job_of(rows, tmp_path / "clips", tmp_path / "shared")
    run_on_ray(shared, address="local", workers=2)
    expected = {path.name: path.read_bytes() for path in alone.output.iterdir()}
    assert {path.name: path.read_bytes() for path in shared.output.iterdir()} == expected


@pytest.mark.parametrize(
    ("gpus", "workers", "expected"),
    [(3, None, (3, 1)), (0, None, (1, 0)), (3, 2, (2, 1)), (64, None, (4, 1))],
)
def test_the_clusters_gpus_decide_and_not_those_of_the_machine_that_asks(
    gpus, workers, expected, tmp_path, monkeypatch
) -> None:
    from vap.data import encode_ray

    asked = {}

    class Shards:
        def map(self, _worker, **options):
            asked.update(options)
            return self

        def materialize(self):
            return self

    @contextmanager
    def cluster(_address, **_):
        resources = {"CPU": 8.0, **({"GPU": float(gpus)} if gpus else {})}
        yield (
            SimpleNamespace(cluster_resources=lambda: resources),
            SimpleNamespace(from_items=lambda *_, **__: Shards()),
        )

    monkeypatch.setattr(encode_ray, "ray_cluster", cluster)
    job = SimpleNamespace(missing=lambda: [0, 1, 2, 3])
    encode_ray.run_on_ray(job, workers=workers)
    assert (asked["concurrency"], asked["num_gpus"]) == expected
