"""Clusters that are not there."""

import socket

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
