"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vap.media.errors import refusal

# Of a temporary name, in characters of up to four bytes: with its marks it fits into the 255 bytes
# of a file's name, however long the name is that it stands for.
_LONGEST_STEM = 40
_LONGEST_SUFFIX = 20
_NO_FOLDER = "it is a file, not a folder"


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name beside it and move it into place at the end.

    Args:
        path: The file to make or replace; its folder is created if missing. Of a link, the file
            that it leads to. A device or pipe is never replaced but written to, at the end.

    Yields:
        The temporary file, empty, with the suffix of ``path``. If the block raises, also by
        ``KeyboardInterrupt``, it is removed and ``path`` stays as it was.

    Raises:
        MediaError: If ``path`` is a folder or the place cannot be written to.
    """
    with _placing(path):
        kind = _kind(path)
        if kind is not None and stat.S_ISDIR(kind):
            raise refusal(path, "it is a folder, not a file", "Name the file to write in it.")
        special = kind is not None and not stat.S_ISREG(kind)
        with _poured(path) if special else _replaced(path.resolve(), path.suffix) as temporary:
            yield temporary


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
    check_makeable(path.parent)
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
    with _placing(path):
        kind = _kind(path)
    if kind is None:
        return
    if not stat.S_ISDIR(kind):
        raise refusal(path, _NO_FOLDER, "Choose another name for the folder.")
    if _is_current(path) or os.path.ismount(path):
        # The system does not let go of the one, and a shell would be left in what was the other.
        problem = "the current folder, or one that a disk is mounted on, cannot be replaced"
        raise refusal(path, problem, "Name a new folder in it, such as frames.")
    foreign = next((item for item in path.iterdir() if not is_ours(item)), None)
    if foreign is not None:
        problem = f"this folder holds something else than frames ({foreign.name})"
        fix = "Choose a new or empty folder, which is replaced as a whole, or a file name."
        raise refusal(path, problem, fix)


def check_makeable(path: Path) -> None:
    """Refuse a folder that is not there and cannot be made, or cannot be written to.

    Args:
        path: The folder; those above it may be missing, too.

    Raises:
        MediaError: If it, or what there is of the folders above it, is a file or is closed to us.
    """
    with _placing(path):
        whole = path.absolute()
        there = next(place for place in (whole, *whole.parents) if place.exists())
        if not there.is_dir():
            raise refusal(there, _NO_FOLDER, "Choose another name for the folder.")
        if not os.access(there, os.W_OK):
            raise refusal(there, "this folder cannot be written to", "Choose another place.")


@contextmanager
def _replaced(path: Path, suffix: str) -> Iterator[Path]:
    """A file beside a place, which it takes in the end."""
    check_makeable(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path, suffix)
    try:
        temporary.touch(exist_ok=False)
        usual = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        # A writer may have put a private file of its own in its place, as safetensors does.
        temporary.chmod(usual)
        _flush(temporary)
        temporary.replace(path)
        _flush_folder(path.parent)
    finally:
        with suppress(OSError):  # must not hide why there is nothing to remove
            temporary.unlink(missing_ok=True)


@contextmanager
def _poured(path: Path) -> Iterator[Path]:
    """A file elsewhere, whose bytes go into a device or pipe in the end."""
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / f"whole{path.suffix}"
        temporary.touch()
        yield temporary
        with temporary.open("rb") as whole, path.open("wb") as target:
            shutil.copyfileobj(whole, target)


@contextmanager
def _placing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        problem = f"it cannot be written ({error.strerror or error})"
        fix = "Check the folder's permissions and free space, or choose another place."
        raise refusal(path, problem, fix) from error


def _kind(path: Path) -> int | None:
    """The mode of what a name leads to, or None if there is nothing.

    Raises:
        OSError: If the system does not let us look, or the name is impossible.
    """
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


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
