import pytest
from benchmarks.traffic import Streams, traffic
from hypothesis import given
from hypothesis import strategies as st

from vap.parallel import Mesh

MESHES = st.builds(Mesh, st.integers(1, 2), st.integers(1, 8), st.integers(1, 8))
WAN = Streams(
    width=5120, blocks=40, coupled=10, target=20280, references=20280, video=20280, output=64
)


def test_one_process_sends_nothing():
    assert traffic(Mesh(), WAN).total == 0


def test_eight_processes_by_hand():
    found = traffic(Mesh(guidance=2, ulysses=4), WAN)
    queries, keys = 40 * 20280 + 9 * 20280, 40 * 20280 + 10 * 20280
    # A quarter of the tokens, of which three quarters of the heads go to others, in bfloat16.
    assert found.ulysses == pytest.approx((2 * queries + 2 * keys) / 4 * 5120 * 3 / 4 * 2)
    assert found.gather == 20280 / 4 * 64 * 2 * 3
    assert found.guidance == 20280 * 64 * 2
    assert found.ring == 0


def test_a_ring_sends_keys_and_values_to_each_of_the_others():
    keys = 50 * 20280
    assert traffic(Mesh(ring=4), WAN, guided=False).ring == keys / 4 * 2 * 5120 * 2 * 3


@given(MESHES)
def test_more_heads_exchanged_is_never_more_sent_than_the_same_in_a_ring(mesh):
    mixed = traffic(mesh, WAN)
    ring = traffic(Mesh(mesh.guidance, mesh.context, 1), WAN)
    if mesh.context > 2:
        assert mixed.ulysses + mixed.ring <= ring.ring * 1.0001
    assert mixed.gather == ring.gather
