"""Video and images in and out: safe reading, frame selection, exact writing, run records.

Names are imported when first used: importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vap.files.errors import MachineError as MachineError
    from vap.files.errors import MediaError as MediaError
    from vap.media.clip import Clip as Clip
    from vap.media.clip import ClipInfo as ClipInfo
    from vap.media.clip import FrameSelection as FrameSelection
    from vap.media.clip import probe_clip as probe_clip
    from vap.media.clip import read_clip as read_clip
    from vap.media.clip import select_frames as select_frames
    from vap.media.images import read_image as read_image
    from vap.media.limits import MediaLimits as MediaLimits
    from vap.media.records import InputFile as InputFile
    from vap.media.records import RunRecord as RunRecord
    from vap.media.records import read_metadata as read_metadata
    from vap.media.records import read_run as read_run
    from vap.media.records import write_run as write_run
    from vap.media.sheet import SheetRow as SheetRow
    from vap.media.sheet import write_sheet as write_sheet
    from vap.media.write import Quality as Quality
    from vap.media.write import write_video as write_video

_PUBLIC = {
    "vap.files.errors": ("MachineError", "MediaError"),
    "vap.media.clip": (
        "Clip",
        "ClipInfo",
        "FrameSelection",
        "probe_clip",
        "read_clip",
        "select_frames",
    ),
    "vap.media.images": ("read_image",),
    "vap.media.limits": ("MediaLimits",),
    "vap.media.records": ("InputFile", "RunRecord", "read_metadata", "read_run", "write_run"),
    "vap.media.sheet": ("SheetRow", "write_sheet"),
    "vap.media.write": ("Quality", "write_video"),
}
_HOMES = {name: module for module, names in _PUBLIC.items() for name in names}
__all__ = sorted(_HOMES)  # noqa: PLE0605 - names are resolved lazily


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
