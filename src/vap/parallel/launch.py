"""Settings of ``torchrun`` for this process, and its end; imports no torch."""

from __future__ import annotations

import os
import sys


def launched() -> bool:
    """Whether ``torchrun`` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first() -> bool:
    """Whether this is the process that speaks and writes: the only one, or rank 0."""
    return int(os.environ.get("RANK", "0")) == 0


def leave(code: int) -> None:
    """End this process without waiting for its groups, which may wait for dead processes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
