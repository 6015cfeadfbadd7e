"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil

from vap.files.errors import refusal

_NO_FOLDER = "it is a file, not a folder"
# A hidden folder beside what is written: by machine, process and a number of its own.
_HIDDEN = ".vap-{}-{}-{}"
_HIDDEN_PATTERN = re.compile(_HIDDEN.format("([0-9a-f]{8})", r"(\d+)", "[0-9a-f]{8}"))
_OLD = "old"
_ABANDONED = 24 * 60 * 60  # seconds after which another machine is done with such a folder


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Write a file into a hidden folder beside it and move it into place at the end.

    If the block raises, the file stays as it was; what a killed process leaves is removed when the
    next one writes into the same folder. A link is followed; a device or pipe is never replaced but
    written to, at the end.
    """
    with _placing(path):
        kind = _kind(path)
        if kind is not None and stat.S_ISDIR(kind):
            raise refusal(path, "it is a folder, not a file", "Name the file to write in it.")
        special = kind is not None and not stat.S_ISREG(kind)
        with _poured(path) if special else _replaced(path.resolve(), path.name) as temporary:
            yield temporary


@contextmanager
def atomic_folder(path: Path, is_ours: Callable[[Path], bool]) -> Iterator[Path]:
    """Fill a folder in a hidden one beside it and move it into place at the end.

    If the block raises, the folder stays as it was. ``is_ours`` says of an entry of an existing
    folder whether it may be replaced, see :func:`check_replaceable`. A link is followed.
    """
    check_replaceable(path, is_ours)
    path = Path(os.path.realpath(path))
    check_makeable(path.parent)
    with _placing(path), hidden_folder(path.parent) as hidden:
        new, old = hidden / "new", hidden / _OLD
        new.mkdir()
        yield new
        for item in new.iterdir():
            _flush(item)
        try:
            if path.exists():
                path.rename(old)
            new.rename(path)
        except BaseException:
            if old.exists() and not path.exists():
                old.rename(path)
            raise
        if old.exists():
            old.rename(new)  # garbage from now on
        _flush_folder(path.parent)


def check_replaceable(path: Path, is_ours: Callable[[Path], bool]) -> None:
    """Refuse what :func:`atomic_folder` does not put a folder in the place of."""
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
        problem = f"this folder contains other files than frames ({foreign.name})"
        fix = "Choose a new or empty folder, which is replaced as a whole, or a file name."
        raise refusal(path, problem, fix)


def check_makeable(path: Path) -> None:
    """Refuse a folder that is not there and cannot be made, or cannot be written to."""
    with _placing(path):
        whole = path.absolute()
        there = next(place for place in (whole, *whole.parents) if place.exists())
        if not there.is_dir():
            raise refusal(there, _NO_FOLDER, "Choose another name for the folder.")
        if not os.access(there, os.W_OK):
            raise refusal(there, "this folder cannot be written to", "Choose another place.")


@contextmanager
def _replaced(path: Path, name: str) -> Iterator[Path]:
    """A file beside a place, which it takes in the end."""
    check_makeable(path.parent)
    with hidden_folder(path.parent) as hidden:
        temporary = hidden / name
        temporary.touch()
        usual = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        # A writer may have put a private file of its own in its place, as safetensors does.
        temporary.chmod(usual)
        _flush(temporary)
        temporary.replace(path)
        _flush_folder(path.parent)


@contextmanager
def hidden_folder(parent: Path) -> Iterator[Path]:
    """A hidden folder, gone in the end with all that writers have left in it."""
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent)
    hidden = parent / _HIDDEN.format(_machine(), os.getpid(), secrets.token_hex(4))
    try:
        hidden.mkdir()
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


@cache
def _sweep(parent: Path) -> None:
    """Remove what killed processes have left in a folder, once in the life of this one."""
    for path in parent.glob(_HIDDEN.format("*", "*", "*")):
        found = _HIDDEN_PATTERN.fullmatch(path.name)
        # What was to be replaced is still in it if the process was killed at that moment.
        if found is None or (path / _OLD).exists():
            continue
        with suppress(OSError):  # removed or moved meanwhile
            here = found[1] == _machine()
            old = time.time() - path.stat().st_mtime > _ABANDONED
            if (here and not psutil.pid_exists(int(found[2]))) or (old and not here):
                shutil.rmtree(path, ignore_errors=True)


@cache
def _machine() -> str:
    """Tells this machine or container from others, where a process has another number."""
    space = Path("/proc/self/ns/pid")
    name = f"{platform.node()} {space.readlink() if space.exists() else ''}"
    return hashlib.sha256(name.encode()).hexdigest()[:8]


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
    """The mode of what a name leads to, or None if there is nothing."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


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
