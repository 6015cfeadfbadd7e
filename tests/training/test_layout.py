"""How processes are cut."""

import pytest

from vap.training.parallel import layout_of
from vap.training.tuning_config import RunConfig


@pytest.mark.parametrize(
    ("run", "count", "numbers"),
    [
        ({}, 8, (8, 8, 1)),
        ({"context": 2}, 8, (4, 4, 1)),
        ({"sharding": "fsdp"}, 8, (1, 8, 8)),
        ({"sharding": "fsdp", "context": 4}, 8, (1, 2, 8)),
        ({"sharding": "hsdp", "shard": 4}, 8, (2, 8, 4)),
        ({"sharding": "hsdp", "shard": 2, "context": 2}, 8, (2, 4, 4)),
        ({"sharding": "fsdp"}, 1, (1, 1, 1)),
    ],
)
def test_copies_batches_and_parts_of_the_weights(run, count, numbers) -> None:
    layout = layout_of(RunConfig(**run), count)
    assert (layout.copies, layout.batches, layout.weight_shards) == numbers
    assert layout.spread == (count > 1 and run != {})


@pytest.mark.parametrize(
    ("run", "count", "said"),
    [
        ({"sharding": "hsdp", "shard": 3}, 8, "Start a multiple of 3"),
        ({"sharding": "hsdp", "shard": 16}, 8, "Start a multiple of 16"),
        ({"sharding": "hsdp", "shard": 2, "context": 3}, 8, "Start a multiple of 6"),
        ({"sharding": "fsdp", "context": 3}, 8, "Start a multiple of 3"),
        ({"sharding": "fsdp", "context": 4}, 2, "Start a multiple of 4"),
        ({"context": 2}, 1, "Start a multiple of 2"),
    ],
)
def test_a_number_that_does_not_fit_is_refused_with_one_that_does(run, count, said) -> None:
    with pytest.raises(ValueError, match=said):
        layout_of(RunConfig(**run), count)
