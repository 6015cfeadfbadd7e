"""Reading of still images."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vap.extras import require
from vap.files.errors import refusal
from vap.media.files import blaming, check_file, is_folder, mislabeled
from vap.media.limits import MediaLimits
from vap.media.pixels import image_to_rgb, to_channels_last, to_uint8
from vap.media.sniff import HEAD_BYTES, HEIC, identify

ImageSource = str | Path | Image.Image | NDArray[Any]

# Only these are tried: Pillow's list includes formats that run other programs.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_START_OF_SCAN = b"\xff\xda"  # of a JPEG: one, or about ten where it is progressive
# What Pillow's decoders raise on damaged files, by its own documentation and by trial.
_DECODER_ERRORS = (
    AssertionError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    ArithmeticError,
    RuntimeError,  # AVIF
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)


def read_image(source: ImageSource, *, limits: MediaLimits | None = None) -> Image.Image:
    """Read a still image as upright 8-bit sRGB.

    An ICC profile is converted, EXIF orientation is applied, transparency is laid on white, 16-bit
    values keep their high 8 bits. Of an animation, the first frame is read.

    Args:
        source: Path of a PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF or (extra ``heic``) HEIC file; or
            an image; or an array [H, W, 3] of uint8 or of floating point in 0..1.
        limits: Bounds on what is accepted.

    Returns:
        A new image in mode ``RGB``.

    Raises:
        MediaError: If it is missing, damaged, no image, or exceeds a limit.
    """
    limits = limits or MediaLimits()
    if isinstance(source, Image.Image):
        limits.check_size("image", *source.size)
        return image_to_rgb(source)
    if isinstance(source, np.ndarray):
        array = to_channels_last("array", source[np.newaxis])[0]
        limits.check_size("array", array.shape[1], array.shape[0])
        return Image.fromarray(to_uint8("array", array))
    path = Path(source)
    if is_folder(path):
        raise refusal(path, "it is a folder, not an image", "Name one of the files in it.")
    file = check_file(path, limits)
    if file.kind.role in ("video", "other"):
        raise mislabeled(file, "an image", "Give a PNG, JPEG or WebP, such as a frame of a video.")
    with opened(path, limits) as image:
        return image_to_rgb(image)


@contextmanager
def opened(path: Path, limits: MediaLimits) -> Iterator[Image.Image]:
    """Open an image within the limits; what fails to decode in the block is a ``MediaError``."""
    with decoding(path), Image.open(path, formats=_formats(path)) as image:
        limits.check_size(path, *image.size)
        if image.format in ("JPEG", "MPO"):
            # An upper bound: within a scan, no 0xDA follows 0xFF.
            pixels = image.width * image.height * path.read_bytes().count(_START_OF_SCAN)
            limits.check_effort(path, pixels, path.stat().st_size)
        yield image


def _formats(path: Path) -> tuple[str, ...]:
    """What Pillow may take a file for; HEIC needs a library of its own."""
    with path.open("rb") as file:
        if identify(file.read(HEAD_BYTES)) != HEIC:
            return _FORMATS
    plugin = require("pillow_heif", extra="heic", purpose=f"read {path}, a HEIC image")
    plugin.register_heif_opener()
    return ("HEIF",)


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn what Pillow's decoders raise on damaged files into a ``MediaError``."""
    try:
        with blaming(path, _DECODER_ERRORS, "it cannot be decoded", "Export it again."):
            yield
    except Image.DecompressionBombError as error:
        problem = f"it claims more pixels than Pillow's own limit ({error})"
        raise refusal(path, problem, "Scale it down.") from error
