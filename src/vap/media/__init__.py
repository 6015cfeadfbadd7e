"""Video and images in and out: safe reading, frame selection, exact writing, run records.

Names are imported when first used, so that importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vap.files.errors import MachineError, MediaError
    from vap.media.clip import Clip, ClipInfo, probe_clip, read_clip
    from vap.media.encoders import Quality
    from vap.media.images import read_image
    from vap.media.limits import MediaLimits
    from vap.media.metadata import read_metadata
    from vap.media.records import InputFile, RunRecord, read_run, write_run
    from vap.media.selection import FrameSelection, select_frames
    from vap.media.sheet import SheetRow, write_sheet
    from vap.media.write import write_video

__all__ = [
    "Clip",
    "ClipInfo",
    "FrameSelection",
    "InputFile",
    "MachineError",
    "MediaError",
    "MediaLimits",
    "Quality",
    "RunRecord",
    "SheetRow",
    "probe_clip",
    "read_clip",
    "read_image",
    "read_metadata",
    "read_run",
    "select_frames",
    "write_run",
    "write_sheet",
    "write_video",
]

_HOMES = {
    "Clip": "vap.media.clip",
    "ClipInfo": "vap.media.clip",
    "FrameSelection": "vap.media.selection",
    "InputFile": "vap.media.records",
    "MachineError": "vap.files.errors",
    "MediaError": "vap.files.errors",
    "MediaLimits": "vap.media.limits",
    "Quality": "vap.media.encoders",
    "RunRecord": "vap.media.records",
    "SheetRow": "vap.media.sheet",
    "probe_clip": "vap.media.clip",
    "read_clip": "vap.media.clip",
    "read_image": "vap.media.images",
    "read_metadata": "vap.media.metadata",
    "read_run": "vap.media.records",
    "select_frames": "vap.media.selection",
    "write_run": "vap.media.records",
    "write_sheet": "vap.media.sheet",
    "write_video": "vap.media.write",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
