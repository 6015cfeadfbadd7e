import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vap.parallel.mesh import Group
from vap.parallel.tokens import TokenCounts, own_share, shares


def place(number: int, size: int) -> Group:
    return Group(tuple(range(size)), number, None)


@given(st.integers(1, 64), st.integers(0, 1000))
def test_shares_are_all_tokens_as_equal_as_can_be(processes, more):
    found = shares(processes + more, processes)
    assert sum(found) == processes + more
    assert len(found) == processes
    assert max(found) - min(found) <= 1
    assert list(found) == sorted(found, reverse=True)


def test_fewer_tokens_than_processes_are_refused():
    with pytest.raises(ValueError, match="cannot share a stream of 3 tokens"):
        shares(3, 4)


def test_parts_in_order_are_the_tensor():
    tensor = torch.arange(22).view(2, 11)
    parts = [own_share(tensor, 1, place(number, 3)) for number in range(3)]
    assert torch.equal(torch.cat(parts, 1), tensor)


def test_counts_are_of_the_target_and_of_all_streams():
    """Text and video of a target; two references folded into the batch, as Wan has them."""
    counts = TokenCounts(place(1, 2))
    counts.note(
        {
            "hidden_states": torch.empty(2, 7, 4),
            "encoder_hidden_states": torch.empty(2, 5, 4),
            "reference_hidden_states": torch.empty(4, 7, 4),
        }
    )
    assert counts.video == (4, 3)
    assert counts.of(3 + 2) == (7, 5)
    assert counts.of(3 + 2 + 2 * 3) == (15, 11)
    with pytest.raises(RuntimeError, match="attends with 4 tokens"):
        counts.of(4)


def test_a_reference_that_is_not_there_has_no_tokens():
    counts = TokenCounts(place(0, 2))
    counts.note(
        {"hidden_states": torch.empty(1, 7, 4), "reference_hidden_states": torch.empty(0, 7, 4)}
    )
    assert counts.of(4) == (4, 3)
