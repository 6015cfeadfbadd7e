"""Experts and effects on the Hub: which files of them are downloaded."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

EXPERT_FILE = "expert.safetensors"
"""The name of an expert's file, in a folder of training and on the Hub."""

EFFECT_KINDS = frozenset(
    {".yaml", ".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif"}
    | {".png", ".jpg", ".jpeg", ".webp", ".safetensors"}
)
"""Kinds of files that an effect on the Hub is made of; none of them can run."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_NO_NAMES = (".safetensors", ".zip", ".git")
_MOST_FILES = 64
_MOST_BYTES = 512 * 1024**2


def is_hub_id(name: str | Path) -> bool:
    """Whether a name is ``owner/name`` on the Hub, and not a file or folder here."""
    text = str(name)
    named = _HUB_ID.fullmatch(text) and not text.endswith(_NO_NAMES) and not _has_dots(text)
    return bool(named) and not Path(text).exists()


def check_hub_id(name: str) -> None:
    """Refuse what cannot be ``owner/name`` on the Hub.

    Raises:
        ValueError: Saying what was given.
    """
    if not _HUB_ID.fullmatch(name) or name.endswith(_NO_NAMES) or _has_dots(name):
        raise ValueError(
            f"{name!r} is not a name on the Hub. Give owner/name: letters, digits, '-', '_' and "
            "single '.'."
        )


def expert_path(name: str | Path) -> Path:
    """The file of an expert: the one here, or downloaded for ``owner/name`` on the Hub.

    Raises:
        FileNotFoundError: If it cannot be downloaded.
    """
    if not is_hub_id(name):
        return Path(name)
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(str(name), EXPERT_FILE))
    except (OSError, ValueError) as error:
        raise _not_there(str(name), "an expert", EXPERT_FILE, error) from error


def download_effect(name: str, folder: Path) -> None:
    """Download an effect of the Hub into an empty folder.

    Raises:
        FileNotFoundError: If it cannot be downloaded.
        ValueError: If it is larger than an effect can be.
    """
    from huggingface_hub import snapshot_download

    kinds = [f"*{kind}" for kind in sorted(EFFECT_KINDS)]
    try:
        listed = snapshot_download(name, allow_patterns=kinds, local_dir=folder, dry_run=True)
    except (OSError, ValueError) as error:
        raise _not_there(name, "an effect", "manifest.yaml", error) from error
    check_effect_size(name, [file.file_size or 0 for file in listed])
    try:
        snapshot_download(name, allow_patterns=kinds, local_dir=folder)
    except (OSError, ValueError) as error:
        raise _not_there(name, "an effect", "manifest.yaml", error) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's notes


def check_effect_size(name: object, sizes: Sequence[int]) -> None:
    """Refuse an effect with more files or bytes than one can have.

    Raises:
        ValueError: Saying how many there are.
    """
    if len(sizes) > _MOST_FILES or sum(sizes) > _MOST_BYTES:
        raise ValueError(
            f"{name} has {len(sizes)} files of {sum(sizes):,} bytes; an effect has at most "
            f"{_MOST_FILES} files of {_MOST_BYTES:,} bytes."
        )


def _has_dots(name: str) -> bool:
    return ".." in name or "--" in name


def _not_there(name: str, what: str, file: str, error: Exception) -> FileNotFoundError:
    said = str(error).strip().splitlines() or [type(error).__name__]
    return FileNotFoundError(
        f"{name!r} is no file here, and could not be downloaded from the Hub as {what} ({file}): "
        f"{said[0].rstrip('. ')}. Check the name and the connection."
    )
