"""Check that all processes of a run, and of no other, use one output folder."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_BITS = 62
_LOCK = ".lock"
_LOGGER = logging.getLogger(__name__)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Lock an output folder; the system releases it when the process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK, blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise ValueError(
            f"Another run uses the output folder {folder}. Wait until it ends, or set output to "
            "another folder."
        ) from error
    except NotImplementedError:
        _LOGGER.warning(
            "%s is on a disk without file locks: do not start a second run there.", folder
        )
    try:
        yield
    finally:
        lock.release()


def check_shared(folder: Path, rank: int, gather: Callable[[int], list[int]]) -> None:
    """Refuse folders of the same name on machines that do not share their disks.

    The first process leaves a file of a random name, which clients of network file systems cannot
    remember as missing, and all look for it.
    """
    names = gather(secrets.randbits(_BITS))
    if len(names) == 1:
        return
    probe = folder / f".shared-{names[0]:x}"
    if rank == 0:
        probe.touch()
    gather(rank)  # no process looks before it is there
    found = gather(int(probe.exists()))
    if rank == 0:
        probe.unlink()
    if not all(found):
        others = ", ".join(str(number) for number, there in enumerate(found) if not there)
        raise ValueError(
            f"Processes {others} cannot see files of process 0 in the output folder {folder}: "
            "their machine has another folder there. Set output to a folder that all machines "
            "share."
        )
