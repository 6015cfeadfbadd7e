"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vap.media.errors import refusal

# Of a temporary name, in characters of up to four bytes: with its marks it fits into the 255 bytes
# of a file's name, however long the name is that it stands for.
_LONGEST_STEM = 40
_LONGEST_SUFFIX = 20


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name beside it and move it into place at the end.

    Args:
        path: The file to make or replace; its folder is created if missing.

    Yields:
        The temporary file, empty, with the suffix of ``path``. If the block raises, also by
        ``KeyboardInterrupt``, it is removed and ``path`` stays as it was.

    Raises:
        MediaError: If ``path`` is a folder or the place cannot be written to.
    """
    if path.is_dir():
        raise refusal(path, "it is a folder, not a file", "Name the file to write in it.")
    temporary = _beside(path, path.suffix)
    try:
        with _placing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.touch(exist_ok=False)
            usual = stat.S_IMODE(temporary.stat().st_mode)
            yield temporary
            # A writer may have put a private file of its own in its place, as safetensors does.
            temporary.chmod(usual)
            _flush(temporary)
            temporary.replace(path)
            _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, is_ours: Callable[[Path], bool]) -> Iterator[Path]:
    """Fill a folder under a temporary name beside it and move it into place at the end.

    Args:
        path: The folder to make or replace; its parents are created if missing. Of a link, the
            folder that it leads to.
        is_ours: Says of an entry of an existing folder whether it may be replaced.

    Yields:
        The temporary folder. If the block raises it is removed and ``path`` stays as it was.

    Raises:
        MediaError: If ``path`` is no folder that may be replaced, see :func:`check_replaceable`,
            or cannot be written to.
    """
    check_replaceable(path, is_ours)
    path = path.resolve()
    temporary, old = _beside(path, ".new"), _beside(path, ".old")
    try:
        with _placing(path):
            temporary.mkdir(parents=True)
            yield temporary
            for item in temporary.iterdir():
                _flush(item)
            if path.exists():
                path.rename(old)
            temporary.rename(path)
            _flush_folder(path.parent)
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        for leftover in (temporary, old):
            shutil.rmtree(leftover, ignore_errors=True)


def check_replaceable(path: Path, is_ours: Callable[[Path], bool]) -> None:
    """Refuse what :func:`atomic_folder` does not put a folder in the place of.

    Args:
        path: The folder to make or replace.
        is_ours: Says of an entry of an existing folder whether it may be replaced.

    Raises:
        MediaError: If ``path`` is a file, is held in its place, or holds anything else.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise refusal(path, "it is a file, not a folder", "Choose another name for the folder.")
    if _is_current(path) or os.path.ismount(path):
        # The system does not let go of the one, and a shell would be left in what was the other.
        problem = "the current folder, or one that a disk is mounted on, cannot be replaced"
        raise refusal(path, problem, "Name a new folder in it, such as frames.")
    foreign = next((item for item in path.iterdir() if not is_ours(item)), None)
    if foreign is not None:
        problem = f"this folder holds something else than frames ({foreign.name})"
        fix = "Choose a new or empty folder, which is replaced as a whole, or a file name."
        raise refusal(path, problem, fix)


@contextmanager
def _placing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        problem = f"it cannot be written ({error.strerror or error})"
        fix = "Check the folder's permissions and free space, or choose another place."
        raise refusal(path, problem, fix) from error


def _beside(path: Path, suffix: str) -> Path:
    path = path.absolute()
    stem, suffix = path.stem[:_LONGEST_STEM], suffix[:_LONGEST_SUFFIX]
    return path.with_name(f".{stem}-{secrets.token_hex(4)}{suffix}")


def _is_current(path: Path) -> bool:
    try:
        return path.samefile(os.curdir)
    except OSError:  # the current folder has been removed
        return False


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    # Makes the new name durable too; some systems do not open folders.
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
