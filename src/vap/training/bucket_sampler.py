"""The samples of a batch: every sample once an epoch, samples of one batch of one size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np


class BucketSampler:
    """Batches of sample indices, a function of the seed and the batch's number alone.

    An epoch shuffles each bucket, cuts it into batches and shuffles the batches of all buckets.
    The last batch of a bucket is filled from the bucket's beginning.
    """

    def __init__(self, buckets: Sequence[Hashable], batch_size: int, seed: int) -> None:
        if not buckets:
            raise ValueError(
                "There is no sample to train on: no encoded clip has a usable reference. Check "
                "`vap data summary` and the recipe's data section."
            )
        members: dict[Hashable, list[int]] = defaultdict(list)
        for index, bucket in enumerate(buckets):
            members[bucket].append(index)
        self._members = [np.array(indices) for indices in members.values()]
        self._batch_size, self._seed = batch_size, seed
        self._order: tuple[int, list[np.ndarray]] = (-1, [])
        self.batches_per_epoch = sum(-(-len(m) // batch_size) for m in self._members)

    def __call__(self, number: int) -> tuple[int, list[int]]:
        """Epoch and samples of a batch."""
        epoch, place = divmod(number, self.batches_per_epoch)
        if self._order[0] != epoch:
            self._order = epoch, self._epoch(epoch)
        return epoch, self._order[1][place].tolist()

    def _epoch(self, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng([self._seed, epoch])
        batches = []
        for members in self._members:
            shuffled = rng.permutation(members)
            count = -(-len(shuffled) // self._batch_size)
            filled = np.resize(shuffled, count * self._batch_size)
            batches += list(filled.reshape(count, self._batch_size))
        return [batches[index] for index in rng.permutation(len(batches))]
