"""Counts what this process really sends to others."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist


@contextmanager
def bytes_sent() -> Iterator[dict[str, int]]:
    """Bytes by operation, for the length of a block."""
    sent = {"exchanged": 0, "passed on": 0, "gathered": 0}
    exchange, pass_on, gather = dist.all_to_all_single, dist.batch_isend_irecv, dist.all_gather

    def counted_exchange(
        received: torch.Tensor, given: torch.Tensor, taken: Any, sizes: list[int], group: Any
    ) -> Any:
        mine = dist.get_rank(group)
        others = sum(size for place, size in enumerate(sizes) if place != mine)
        sent["exchanged"] += others * given.itemsize
        return exchange(received, given, taken, sizes, group=group)

    def counted_passing(operations: list[dist.P2POp]) -> Any:
        sent["passed on"] += sum(one.tensor.nbytes for one in operations if one.op is dist.isend)
        return pass_on(operations)

    def counted_gather(parts: list[torch.Tensor], mine: torch.Tensor, group: Any) -> Any:
        sent["gathered"] += mine.nbytes * (len(parts) - 1)
        return gather(parts, mine, group=group)

    with (
        patch.object(dist, "all_to_all_single", counted_exchange),
        patch.object(dist, "batch_isend_irecv", counted_passing),
        patch.object(dist, "all_gather", counted_gather),
    ):
        yield sent
