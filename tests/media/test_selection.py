import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vap.media import select_frames

counts = st.integers(1, 300)


@given(counts, counts)
def test_evenly_is_truncated_linspace(available, wanted):
    expected = np.linspace(0, available - 1, wanted).astype(int).tolist()
    assert select_frames(available, wanted, "evenly") == expected


@given(counts, counts, st.sampled_from(["evenly", "first", "random"]))
def test_indices_exist_and_never_go_back(available, wanted, mode):
    indices = select_frames(available, wanted, mode)
    assert len(indices) == wanted
    assert all(0 <= index < available for index in indices)
    assert indices == sorted(indices)


def test_first_holds_the_last_frame_of_a_short_clip():
    assert select_frames(3, 5, "first") == [0, 1, 2, 2, 2]


def test_random_window_is_contiguous_and_follows_the_generator():
    draws = [
        select_frames(100, 10, "random", torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    ]
    assert draws[0] == draws[1] != draws[2]
    assert np.diff(draws[0]).tolist() == [1] * 9


def test_random_window_reaches_both_ends():
    generator = torch.Generator().manual_seed(0)
    starts = {select_frames(4, 2, "random", generator)[0] for _ in range(60)}
    assert starts == {0, 1, 2}


@pytest.mark.parametrize(("available", "wanted", "mode"), [(0, 1, "first"), (1, 0, "first")])
def test_counts_below_one_are_refused(available, wanted, mode):
    with pytest.raises(ValueError, match="at least 1"):
        select_frames(available, wanted, mode)


def test_unknown_mode_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'last'.*'evenly', 'first', 'random'"):
        select_frames(3, 2, "last")
