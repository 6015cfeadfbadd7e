"""Still images, and clips made of them: a folder, a list of images, an array or a tensor."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vap.extras import require
from vap.files.errors import refusal
from vap.media.files import (
    HEAD_BYTES,
    HEIC,
    blaming,
    check_file,
    hash_file,
    identify,
    is_folder,
    mislabeled,
    unreadable,
)
from vap.media.limits import MediaLimits
from vap.media.pixels import RGB, image_to_rgb, to_channels_last, to_uint8
from vap.media.timing import Shot, Source, Timeline, exact_rate

if TYPE_CHECKING:
    import torch

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


FrameStack = Sequence[Image.Image] | NDArray[Any]
"""Frames in memory: images, or [T, H, W, 3] of uint8 or of floating point in 0..1."""

DEFAULT_FPS = 16.0
RATE_KEY = "fps"  # PNG text that write_video leaves in the first frame of a folder
_RATE = re.compile(r"\d{1,9}([./]\d{1,9})?", re.ASCII)  # more digits take Fraction for ever
STILL_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif"}
STILL_SUFFIXES |= {".heic", ".heif"}


@dataclass(frozen=True, slots=True)
class Frames:
    """Equally large frames, converted one at a time."""

    name: str  # for errors
    count: int
    height: int
    width: int
    load: Callable[[int], RGB]  # frame t as uint8 [H, W, 3]

    def __iter__(self) -> Iterator[RGB]:
        return (self.load(index) for index in range(self.count))


def as_frames(frames: FrameStack | torch.Tensor) -> Frames:
    """Wrap a list of images, or an array or tensor [T, H, W, 3] or [T, 3, H, W], as frames."""
    if isinstance(frames, Sequence):
        return _of_images(frames)
    if not isinstance(frames, np.ndarray) and not hasattr(frames, "detach"):
        fix = "Give a list of PIL images, a NumPy array or a torch tensor."
        raise refusal("frames", f"{type(frames).__name__} cannot be read as frames", fix)
    name = "array" if isinstance(frames, np.ndarray) else "tensor"
    array = to_channels_last(name, frames)
    count, height, width, _ = array.shape
    return Frames(name, count, height, width, lambda index: to_uint8(name, array[index]))


def open_frames(
    frames: FrameStack | torch.Tensor, fps: float | None, limits: MediaLimits
) -> Source:
    """Open frames in memory as a clip."""
    stack = as_frames(frames)
    timeline = Timeline.regular(stack.count, exact_rate(DEFAULT_FPS if fps is None else fps))
    limits.check_length(stack.name, stack.count, float(timeline.seconds))
    limits.check_size(stack.name, stack.width, stack.height)
    return _source(stack, stack.name, timeline, partial(_pixel_digest, stack))


def open_folder(path: Path, fps: float | None, limits: MediaLimits) -> Source:
    """Open a folder of images, in natural order (2 before 10), as a clip.

    Hidden files and other suffixes are skipped. ``fps`` is by default the rate that
    ``write_video`` noted in the first frame, else 16.
    """
    try:
        # macOS writes notes to "._frame.png".
        shown = (file for file in path.iterdir() if not file.name.startswith("."))
        files = sorted((f for f in shown if f.suffix.lower() in STILL_SUFFIXES), key=_natural)
    except OSError as error:
        raise unreadable(path, error) from error
    if not files:
        fix = f"Give a folder of numbered frames ({', '.join(sorted(STILL_SUFFIXES))})."
        raise refusal(path, "there are no images in this folder", fix)
    with opened(check_file(files[0], limits).path, limits) as first:
        width, height = image_to_rgb(first).size
        noted = first.info.get(RATE_KEY)
    timeline = Timeline.regular(
        len(files), exact_rate(_noted_rate(path, noted) if fps is None else fps)
    )
    limits.check_length(path, len(files), float(timeline.seconds))

    def load(index: int) -> RGB:
        frame = np.asarray(read_image(files[index], limits=limits))
        return _checked(files[index], frame, width, height)

    stack = Frames(path.name, len(files), height, width, load)
    file_bytes = sum(file.stat().st_size for file in files)
    return _source(stack, "folder", timeline, partial(_folder_digest, files), file_bytes)


def _of_images(images: Sequence[Image.Image]) -> Frames:
    name = "list of images"
    if not images:
        raise refusal(name, "it has no frames", "Give at least one image.")
    for index, image in enumerate(images):
        if not isinstance(image, Image.Image):
            problem = f"item {index} is {type(image).__name__}, not a PIL image"
            raise refusal(name, problem, "Read files with read_image, or give the folder itself.")
    width, height = image_to_rgb(images[0]).size

    def load(index: int) -> RGB:
        frame = np.asarray(image_to_rgb(images[index]))
        return _checked(f"image {index} of the list", frame, width, height)

    return Frames(name, len(images), height, width, load)


def _checked(name: object, frame: RGB, width: int, height: int) -> RGB:
    if frame.shape[:2] == (height, width):
        return frame
    problem = f"it is {frame.shape[1]}x{frame.shape[0]}, but the first frame is {width}x{height}"
    raise refusal(name, problem, "All frames of a clip must have one size: resize them.")


def _natural(path: Path) -> tuple[list[str | int], str]:
    """Sort key that compares numbers as numbers, and ties ("1", "01") as text."""
    parts = re.split(r"(\d+)", path.name)
    return [int(part) if index % 2 else part.lower() for index, part in enumerate(parts)], path.name


def _noted_rate(path: Path, noted: object) -> Fraction | float:
    if not isinstance(noted, str):
        return DEFAULT_FPS
    try:
        if not _RATE.fullmatch(noted):
            raise ValueError
        return exact_rate(Fraction(noted))
    except (ValueError, ZeroDivisionError) as error:
        problem = f"its first frame notes the frame rate {noted[:40]!r}"
        fix = "Save that frame again without this text, or give the rate (in Python, fps=16)."
        raise refusal(path, problem, fix) from error


def _source(
    stack: Frames,
    kind: str,
    timeline: Timeline,
    digest: Callable[[], str],
    file_bytes: int | None = None,
) -> Source:
    def shots() -> Iterator[Shot]:
        return (Shot(index, partial(stack.load, index)) for index in range(stack.count))

    size = stack.width, stack.height
    return Source(stack.name, kind, *size, timeline, shots, digest, file_bytes)


def _pixel_digest(stack: Frames) -> str:
    digest = hashlib.sha256(f"{stack.count}x{stack.height}x{stack.width}".encode())
    for frame in stack:
        digest.update(frame.tobytes())
    return digest.hexdigest()


def _folder_digest(files: Sequence[Path]) -> str:
    """SHA-256 over the digests of the frames, in order; names do not count."""
    return hashlib.sha256("".join(map(hash_file, files)).encode()).hexdigest()
