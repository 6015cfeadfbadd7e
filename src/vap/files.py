"""Files that appear whole or not at all, and their fingerprints."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BLOCK = 1 << 20


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write a file beside its final place, then move it there; nothing is left on failure.

    Args:
        path: The final place. Its folder must exist.

    Yields:
        A temporary path in the same folder, with the same suffix.

    Raises:
        FileNotFoundError: If the folder does not exist.
    """
    final = Path(path)
    if not final.parent.is_dir():
        message = f"The folder {final.parent} does not exist. Create it, or choose another place."
        raise FileNotFoundError(message)
    descriptor, name = tempfile.mkstemp(
        dir=final.parent, prefix=f".{final.stem}.", suffix=final.suffix
    )
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; a finished file gets the usual permissions.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
