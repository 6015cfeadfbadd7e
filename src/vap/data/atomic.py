"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; move it into place on success.

    After any error, Ctrl-C included, the temporary file is removed and ``path`` is as it was.

    Args:
        path: The file to create or replace; its folder is made if missing.

    Yields:
        The temporary path, with the suffix of ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)  # noqa: PTH105  (the atomic rename, also over an existing file on Windows)
    finally:
        partial.unlink(missing_ok=True)
