"""What reading and writing of media raises, and whose fault it is."""

from __future__ import annotations

import errno

_SHORT = {errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOBUFS}
_DECODER_BYTES = 1 << 30  # what the largest frames allowed take


class MediaError(ValueError):
    """Media that cannot be read or written; the message gives the file, the reason and a fix."""


class MachineError(OSError):
    """The machine ran short of memory, threads or open files; the media may be sound."""


def refusal(name: object, problem: str, fix: str) -> MediaError:
    """Build the error for one piece of media."""
    return MediaError(f"{name}: {problem}. {fix}")


def blame(name: object, error: Exception, problem: str, fix: str) -> MediaError | MachineError:
    """Build the error for a failed read: the machine's fault if it ran short, else the media's."""
    # Pillow has no type of its own for it.
    of_memory = isinstance(error, MemoryError) or "out of memory" in str(error)
    if getattr(error, "errno", None) in _SHORT or (of_memory and memory_is_short()):
        return MachineError(
            f"{name}: the machine ran short of memory, threads or open files while reading it "
            f"({str(error) or type(error).__name__}). Run it again with fewer processes at once "
            "or more memory."
        )
    return refusal(name, problem, fix)


def memory_is_short() -> bool:
    """Whether a decoder ran out of memory; a damaged file requests far more."""
    import numpy as np  # not for `vap --help`

    try:
        np.empty(_DECODER_BYTES, np.uint8)
    except MemoryError:
        return True
    return False
