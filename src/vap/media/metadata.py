"""Metadata inside media files: one JSON object in the comment of every container."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vap.media import sniff
from vap.media.files import check_file
from vap.media.images import opened
from vap.media.limits import MediaLimits
from vap.media.video import open_container

COMMENT = "comment"
FIRST_FRAME = "frame_00000.png"  # of a folder of frames; contains the folder's metadata


def dump_metadata(metadata: Mapping[str, Any] | None) -> str | None:
    """Write metadata as ASCII JSON with sorted keys: the same bytes for the same content."""
    if metadata is None:
        return None
    try:
        return json.dumps(metadata, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Metadata must be JSON (text, numbers, lists, objects with text keys): {error}."
        ) from error


def read_metadata(path: str | Path) -> dict[str, Any] | None:
    """Read the metadata that ``write_video`` put into a video, GIF, PNG or folder of frames.

    Returns:
        The JSON object in its comment; None if there is none.

    Raises:
        MediaError: If the file is missing or cannot be opened.
    """
    path = Path(path)
    comment = _comment(path / FIRST_FRAME if path.is_dir() else path)
    try:
        found = json.loads(comment) if comment else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _comment(path: Path) -> str | bytes | None:
    limits = MediaLimits()
    file = check_file(path, limits)
    if file.kind in (sniff.GIF, sniff.PNG):
        with opened(path, limits) as image:
            return image.info.get(COMMENT)
    if file.kind.role != "video":
        return None
    with open_container(file, limits) as container:
        # Matroska writes its keys in capitals.
        return {key.lower(): value for key, value in container.metadata.items()}.get(COMMENT)
