"""Check files from outside before they are opened: present, regular, recognized, whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vap.files.errors import MachineError, MediaError, blame, refusal
from vap.media.limits import MediaLimits
from vap.media.sniff import HEAD_BYTES, FileKind, identify
from vap.media.structure import find_damage

_COPY_AGAIN = "Copy, download or export it again."


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file that exists, is readable and, as far as its structure tells, whole."""

    path: Path
    kind: FileKind


def check_file(path: Path, limits: MediaLimits) -> CheckedFile:
    """Recognize a file; refuse it if it is missing, unreadable, too large or cut off."""
    try:
        _check_regular(path)
        limits.check_bytes(path, path.stat().st_size)
        with path.open("rb") as file:
            kind = identify(file.read(HEAD_BYTES))
            damage = find_damage(file, kind)
    except OSError as error:
        raise unreadable(path, error) from error
    if damage is not None:
        raise refusal(path, f"{damage} (it is {kind.title})", _COPY_AGAIN)
    return CheckedFile(path, kind)


def is_folder(path: Path) -> bool:
    """Whether there is a folder of this name; an impossible name is a ``MediaError``."""
    try:
        return path.is_dir()
    except OSError as error:
        raise unreadable(path, error) from error


def mislabeled(file: CheckedFile, expected: str, fix: str) -> MediaError:
    """Build the error for a file of another kind than expected (``"a video"``)."""
    return refusal(file.path, f"its content is {file.kind.title}, not {expected}", fix)


def unreadable(path: Path, error: OSError) -> MediaError | MachineError:
    """Build the error for a file that the operating system cannot read."""
    if isinstance(error, PermissionError):
        return refusal(path, "permission denied", "Make it readable for this user, or copy it.")
    return blame(path, error, f"it cannot be read ({error.strerror or error})", _COPY_AGAIN)


@contextmanager
def blaming(
    path: Path, errors: tuple[type[Exception], ...], problem: str, fix: str
) -> Iterator[None]:
    """Turn errors of a decoder in the block into one that names the file."""
    try:
        yield
    except (MediaError, MachineError):
        raise
    except errors as error:
        said = str(error).replace(str(path), path.name).rstrip(".")
        reason = getattr(error, "strerror", None) or said
        raise blame(path, error, f"{problem} ({reason})", fix) from error


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    try:
        _check_regular(path)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error


def _check_regular(path: Path) -> None:
    """Refuse missing files, pipes and devices: reading the latter may never end."""
    if not path.exists():
        is_web = str(path).startswith(("http:", "https:"))
        fix = "Web addresses are not read: download the file first."
        fix = fix if is_web else "Check the path and the current directory."
        raise refusal(path, "there is no such file", fix)
    if not path.is_file():
        fix = "Give a media file or a folder of frames."
        raise refusal(path, "it is not a regular file", fix)
