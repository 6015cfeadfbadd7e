"""What reading and writing of media raises, and whose fault it is."""

from __future__ import annotations

import errno

_SHORT = {errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOBUFS}


class MediaError(ValueError):
    """Media that cannot be read or written; the message says which, why, and how to fix it."""


class MachineError(OSError):
    """The machine ran short of memory, threads or open files; the media may be sound."""


def refusal(name: object, problem: str, fix: str) -> MediaError:
    """Build the error for one piece of media.

    Args:
        name: The file, or a word for media without one ("array").
        problem: What is wrong, as a clause without its full stop.
        fix: What to do about it, as one or more whole sentences.

    Returns:
        The error, to be raised by the caller.
    """
    return MediaError(f"{name}: {problem}. {fix}")


def blame(name: object, error: Exception, problem: str, fix: str) -> MediaError | MachineError:
    """Build the error for a failed read: the machine's fault if it ran short, else the media's.

    Args:
        name: The file, or a word for media without one.
        error: What the system or a library raised.
        problem: What is wrong if it is the media's fault.
        fix: What to do then.

    Returns:
        The error, to be raised by the caller.
    """
    ran_short = isinstance(error, MemoryError) or getattr(error, "errno", None) in _SHORT
    if ran_short or "out of memory" in str(error):  # Pillow has no type of its own for it
        return MachineError(
            f"{name}: the machine ran short of memory, threads or open files while reading it "
            f"({str(error) or type(error).__name__}). Run it again with fewer processes at once "
            "or more memory; if that fails too, the file is damaged."
        )
    return refusal(name, problem, fix)
