"""Photographs in the public domain that come inside the scikit-image package."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from vap.extras import require
from vap.synth.opencv import cv2
from vap.synth.scene import Image


@cache
def photo(file: str) -> Image:
    """A photograph from the package's own files, RGB ``[H, W, 3]`` in 0 to 1; never a download."""
    package = require("skimage", extra="train", purpose="use its photographs in procedural clips")
    path = Path(package.__file__ or "").parent / "data" / file
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; this scikit-image lacks the photograph. Reinstall it."
        )
    lib = cv2()
    pixels = lib.cvtColor(lib.imread(str(path), lib.IMREAD_COLOR), lib.COLOR_BGR2RGB)
    picture: Image = pixels.astype(np.float32) / 255
    picture.setflags(write=False)
    return picture
