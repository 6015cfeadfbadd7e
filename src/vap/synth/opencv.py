"""OpenCV, imported at the first warp or filter rather than with the package."""

from __future__ import annotations

from functools import cache
from types import ModuleType

from vap.extras import require


@cache
def cv2() -> ModuleType:
    """The ``cv2`` module."""
    return require("cv2", extra="train", purpose="render procedural clips")
