"""Read animated WebP through Pillow, because FFmpeg 8 does not decode it.

Durations are read from the chunk headers by hand: Pillow tells that of a frame only after decoding
it, and limits are checked before decoding. Animated PNG stays with FFmpeg for the same reason:
Pillow gives the same pixels, but takes 0.6 s instead of 0.1 s for the times of 30 frames of 720p.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from itertools import accumulate
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from vap.media.files import CheckedFile, hash_file
from vap.media.images import decoding, opened
from vap.media.limits import MediaLimits
from vap.media.pixels import RGB, image_to_rgb
from vap.media.timing import Shot, Source, Timeline

_MILLISECOND = Fraction(1, 1000)
_SHORTEST, _INSTEAD = 10, 100  # browsers show frames of less than 11 ms for 100 ms
_SIDEWAYS = range(5, 9)  # EXIF orientations that exchange height and width


def open_webp(file: CheckedFile, limits: MediaLimits) -> Source:
    """Read size and frame times of an animated WebP without decoding it."""
    path = file.path
    with opened(path, limits) as image:
        width, height = image.size
        if image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS:
            width, height = height, width
    *starts, end = accumulate(_durations(path, limits.frames), initial=0)
    timeline = Timeline(tuple(starts), end, _MILLISECOND)
    limits.check_length(path, len(starts), float(timeline.seconds))
    shots, digest = partial(_shots, path, limits, timeline), partial(hash_file, path)
    file_bytes = path.stat().st_size
    return Source(path.name, "webp", width, height, timeline, shots, digest, file_bytes)


def _durations(path: Path, most: int) -> list[int]:
    """Milliseconds of each frame; stops after ``most`` + 1 frames."""
    found: list[int] = []
    with path.open("rb") as file:
        file.seek(12)
        while len(found) <= most and len(header := file.read(8)) == 8:  # noqa: PLR2004
            kind, length = struct.unpack("<4sI", header)
            if kind == b"ANMF":
                duration = int.from_bytes(file.read(16)[12:15], "little")
                found.append(duration if duration > _SHORTEST else _INSTEAD)
                length -= 16
            file.seek(length + length % 2, 1)
    return found


def _shots(path: Path, limits: MediaLimits, timeline: Timeline) -> Iterator[Shot]:
    with opened(path, limits) as image:
        for index, start in enumerate(timeline.starts):
            yield Shot(start, partial(_load, path, image, index))


def _load(path: Path, image: Image.Image, index: int) -> RGB:
    with decoding(path):
        image.seek(index)
        return np.asarray(image_to_rgb(image))
