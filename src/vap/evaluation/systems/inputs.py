"""What services take: sizes of images, lengths of texts, addresses of files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from vap.media import read_image

_QUALITIES = (95, 90, 80)


@dataclass(frozen=True, slots=True)
class ImageRules:
    """What a service says of images.

    Attributes:
        file_bytes: Largest file.
        side: Smallest width and height in pixels; smaller images are scaled up.
        aspect: Largest ratio of the sides, either way.
    """

    file_bytes: int
    side: int = 1
    aspect: float = 4.0


def image_file(path: Path, rules: ImageRules) -> tuple[bytes, str]:
    """Read an image in the form that a service takes, as PNG or JPEG and its media type.

    Raises:
        ValueError: If it is no image, or cannot be sent without changing what it shows.
    """
    image = read_image(path)
    width, height = image.size
    aspect = max(width / height, height / width)
    if aspect > rules.aspect:
        raise ValueError(
            f"{path} has {width}x{height} pixels; the service takes a ratio of the sides of at "
            f"most {rules.aspect:g}. Crop it."
        )
    if min(width, height) < rules.side:
        scale = rules.side / min(width, height)
        size = (ceil(width * scale), ceil(height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    for encoding, quality in (("PNG", 100), *(("JPEG", quality) for quality in _QUALITIES)):
        buffer = io.BytesIO()
        image.save(buffer, encoding, quality=quality)
        if buffer.tell() <= rules.file_bytes:
            return buffer.getvalue(), f"image/{encoding.lower()}"
    raise ValueError(
        f"{path} has more than the {rules.file_bytes:,} bytes that the service takes, also as a "
        "JPEG. Scale it down."
    )


def checked_text(text: str, longest: int) -> str:
    """Return a text that the service takes.

    Raises:
        ValueError: If it is too long.
    """
    if len(text) > longest:
        raise ValueError(
            f"The prompt has {len(text)} characters; the service takes at most {longest}. "
            "Shorten it, or set caption: scene or none."
        )
    return text


def public_url(path: Path, base_url: str, root: Path | None) -> str:
    """Return where the internet finds a file.

    Args:
        path: The file here.
        base_url: The public address of ``root``.
        root: The folder that is published; None for the file's own.

    Raises:
        ValueError: If there is no address.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder of frames; the service takes MP4 or MOV files.")
    name = path.name
    if root is not None:
        try:
            name = path.resolve().relative_to(root.resolve()).as_posix()
        except ValueError:
            raise ValueError(
                f"{path} is not in media_root, {root}, so it has no address under "
                f"{base_url}. Copy it there, or name another folder."
            ) from None
    return f"{base_url.rstrip('/')}/{quote(name)}"
