"""Clusters that are not there, and what the others are asked for."""

import socket
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from vap.parallel import ray_cluster

pytest.importorskip("ray")


@pytest.mark.parametrize(
    "address", ["localhost:{}", "ray://localhost:{}", "[::1]:{}", "here:99999"]
)
def test_an_address_that_does_not_answer_is_refused_before_ray_tries(address, monkeypatch):
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("tried"))
    with socket.socket() as closed:
        closed.bind(("localhost", 0))
        asked = address.format(closed.getsockname()[1])
        with (
            pytest.raises(ConnectionError, match="ray start --head"),
            ray_cluster.ray_cluster(asked, purpose="test"),
        ):
            pass


@pytest.mark.parametrize(
    ("gpus", "workers", "expected"),
    [(3, None, (3, 1)), (0, None, (1, 0)), (3, 2, (2, 1)), (64, None, (4, 1))],
)
def test_the_clusters_gpus_decide_and_not_those_of_the_machine_that_asks(
    gpus, workers, expected, monkeypatch
):
    asked = {}

    class Places:
        def map(self, _actor, **options):
            asked.update(options)
            return self

        def iter_rows(self):
            return [{"result": 5}]

    @contextmanager
    def cluster(_address, **_):
        resources = {"CPU": 8.0, **({"GPU": float(gpus)} if gpus else {})}
        context = SimpleNamespace(get_current=SimpleNamespace)
        yield (
            SimpleNamespace(cluster_resources=lambda: resources),
            SimpleNamespace(
                from_items=lambda *_, **__: Places(),
                DataContext=context,
                ActorPoolStrategy=lambda size: size,
            ),
        )

    monkeypatch.setattr(ray_cluster, "ray_cluster", cluster)
    made = ray_cluster.each_on_ray(int, (), 4, address="auto", purpose="test", workers=workers)
    assert list(made) == [5]
    assert (asked["compute"], asked["num_gpus"]) == expected
