"""The one error of this package: a file, image, clip or record that cannot be used as given."""

from __future__ import annotations


class MediaError(ValueError):
    """Media that cannot be read or written; the message says which, why, and how to fix it."""


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
