"""Processes that know each other for the length of a block, and end together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

# The others wait while the first decodes, and while the slowest loads.
_PATIENCE = timedelta(hours=2)


def own_device(name: str | None = None) -> str:
    """The device of this process: an accelerator gets its number on this machine."""
    here = torch.accelerator.current_accelerator(check_available=True)
    device = torch.device(name) if name else here or torch.device("cpu")
    if device.type == "cpu":
        return "cpu"
    if device.index is not None:
        raise ValueError(
            f"device={name!r} names one device, but each process needs its own. Use "
            f"{device.type!r}, and choose devices with CUDA_VISIBLE_DEVICES."
        )
    return f"{device.type}:{os.environ.get('LOCAL_RANK', '0')}"


@contextmanager
def processes(device: str) -> Iterator[int]:
    """Know the other processes that ``torchrun`` started.

    If the block raises, this process waits for nobody: it is to end at once, upon which
    ``torchrun`` ends the others.

    Args:
        device: Of this process, see ``own_device``.

    Yields:
        How many processes there are.
    """
    place = torch.device(device)
    if place.type != "cpu":
        torch.accelerator.set_device_index(place)
    dist.init_process_group(
        dist.get_default_backend_for_device(place),
        timeout=_PATIENCE,
        device_id=None if place.type == "cpu" else place,
    )
    yield dist.get_world_size()
    dist.barrier()
    dist.destroy_process_group()


def require_processes() -> int:
    """How many processes know each other; an error if they do not."""
    if not dist.is_initialized():
        raise RuntimeError(
            "There is no process group. Start the program with torchrun, and call this inside "
            "`with vap.parallel.processes(device):` or after torch.distributed.init_process_group."
        )
    return dist.get_world_size()
