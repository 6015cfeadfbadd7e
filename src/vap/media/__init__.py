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
    "Clip": "clip",
    "ClipInfo": "clip",
    "FrameSelection": "selection",
    "InputFile": "records",
    "MachineError": "errors",
    "MediaError": "errors",
    "MediaLimits": "limits",
    "Quality": "encoders",
    "RunRecord": "records",
    "SheetRow": "sheet",
    "probe_clip": "clip",
    "read_clip": "clip",
    "read_image": "images",
    "read_metadata": "metadata",
    "read_run": "records",
    "select_frames": "selection",
    "write_run": "records",
    "write_sheet": "sheet",
    "write_video": "write",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
