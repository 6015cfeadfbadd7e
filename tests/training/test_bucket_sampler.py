from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vap.training.bucket_sampler import BucketSampler

BUCKETS = st.lists(st.sampled_from("abc"), min_size=1, max_size=30)


@given(buckets=BUCKETS, size=st.integers(1, 5), seed=st.integers(0, 9), epoch=st.integers(0, 3))
def test_an_epoch_shows_every_sample_in_batches_of_one_bucket(buckets, size, seed, epoch) -> None:
    sampler = BucketSampler(buckets, size, seed)
    seen: Counter[int] = Counter()
    for place in range(sampler.batches_per_epoch):
        found, batch = sampler(epoch * sampler.batches_per_epoch + place)
        assert found == epoch
        assert len(batch) == size
        assert len({buckets[index] for index in batch}) == 1
        seen.update(batch)
    assert set(seen) == set(range(len(buckets)))


@given(buckets=BUCKETS, number=st.integers(0, 200))
def test_a_batch_is_a_function_of_its_number(buckets, number) -> None:
    walked = BucketSampler(buckets, 2, seed=1)
    for step in range(number % 7):
        walked(step)
    assert walked(number) == BucketSampler(buckets, 2, seed=1)(number)


def test_epochs_differ_in_order() -> None:
    sampler = BucketSampler(list("aaaaaaaaaaaa"), 1, seed=0)
    first, second = ([sampler(12 * e + i)[1][0] for i in range(12)] for e in (0, 1))
    assert first != second
    assert sorted(first) == sorted(second)


def test_no_sample_is_refused_with_where_to_look() -> None:
    with pytest.raises(ValueError, match="vap data summary"):
        BucketSampler([], 1, seed=0)
