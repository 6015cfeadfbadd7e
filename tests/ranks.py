"""Processes that talk over gloo, for tests of what several accelerators do."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist


@contextmanager
def gloo_rank(rank: int, count: int, rendezvous: str | Path) -> Iterator[None]:
    """Be one of ``count`` processes for the length of a block, then end; errors end it too."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=count)
    yield
    dist.barrier()
    dist.destroy_process_group()
    sys.stdout.flush()
    # The groups of a device mesh keep gloo threads that now and then abort the interpreter's
    # shutdown ("terminate called without an active exception"); there is nothing left to do.
    os._exit(0)
