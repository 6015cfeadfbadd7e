"""Whether all processes of a run see one and the same folder."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

_BITS = 62


def check_shared(folder: Path, rank: int, gather: Callable[[int], list[int]]) -> None:
    """Refuse folders of the same name on machines that do not share their disks.

    The first process leaves a file of a name that no other can know of (nor remember as missing,
    as clients of network file systems do), and all look for it.

    Args:
        folder: Exists in every process.
        rank: This process.
        gather: The numbers of all processes, in their order.

    Raises:
        ValueError: In every process, if one does not see what the first one wrote.
    """
    names = gather(secrets.randbits(_BITS))
    if len(names) == 1:
        return
    probe = folder / f".shared-{names[0]:x}"
    if rank == 0:
        probe.touch()
    gather(rank)  # nobody looks before it is there
    seen = gather(int(probe.exists()))
    if rank == 0:
        probe.unlink()
    if not all(seen):
        blind = ", ".join(str(number) for number, saw in enumerate(seen) if not saw)
        message = (
            f"Processes {blind} do not see what process 0 writes into the output folder {folder}: "
            "it is another one on their machine. Set output to a folder that all machines share."
        )
        raise ValueError(message)
