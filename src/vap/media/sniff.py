"""Recognize a file by its first bytes, because names and suffixes may be wrong.

By hand, because FFmpeg's own probing also opens playlists and scripts that name other files; the
kind decides the one demuxer or decoder that is tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class FileKind:
    """A recognized kind of file."""

    title: str  # the end of "its content is ..."
    role: Literal["video", "animation", "image", "other"]  # an animation may also be a still
    demuxer: str | None = None  # of FFmpeg


MP4 = FileKind("an MP4 or QuickTime video", "video", "mov")
MATROSKA = FileKind("a WebM or Matroska video", "video", "matroska")
AVI = FileKind("an AVI video", "video", "avi")
GIF = FileKind("a GIF", "animation", "gif")
ANIMATED_PNG = FileKind("an animated PNG", "animation", "apng")
ANIMATED_WEBP = FileKind("an animated WebP", "animation")
PNG = FileKind("a PNG image", "image")
JPEG = FileKind("a JPEG image", "image")
WEBP = FileKind("a WebP image", "image")
BMP = FileKind("a BMP image", "image")
TIFF = FileKind("a TIFF image", "image")
AVIF = FileKind("an AVIF image", "image")
ANIMATED_AVIF = FileKind("an animated AVIF", "animation")
HEIC = FileKind("a HEIC image", "image")
TEXT = FileKind("a text file", "other")
UNKNOWN = FileKind("unrecognized data", "other")

_MAGIC: tuple[tuple[bytes, FileKind], ...] = (
    (b"\x1aE\xdf\xa3", MATROSKA),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"\xff\xd8\xff", JPEG),
    (b"BM", BMP),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"%PDF", FileKind("a PDF document", "other")),
    (b"PK\x03\x04", FileKind("a ZIP archive", "other")),
    (b"\x1f\x8b", FileKind("a gzip archive", "other")),
    (b"7z\xbc\xaf", FileKind("a 7-Zip archive", "other")),
    (b"Rar!", FileKind("a RAR archive", "other")),
    (b"ID3", FileKind("MP3 audio", "other")),
    (b"fLaC", FileKind("FLAC audio", "other")),
    (b"OggS", FileKind("an Ogg file", "other")),
    (b"FLV", FileKind("a Flash video", "other")),
    (b"\x00\x00\x01\xba", FileKind("an MPEG program stream", "other")),
    (b"\x7fELF", FileKind("a program", "other")),
    (b"version https://git-lfs", FileKind("a Git LFS pointer without its content", "other")),
)
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
# HEIF with AV1, with HEVC, and with a codec that only the brands after the first tell.
_AVIF_BRANDS = (b"avif", b"avis")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_HEIF_BRANDS = (b"mif1", b"msf1")
_MARKUP = (b"<!doctype html", b"<html", b"<?xml", b"<svg")


def identify(head: bytes) -> FileKind:
    """Recognize a file by its first ``HEAD_BYTES`` bytes (all of a smaller file)."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    for recognize in (_riff, _png, _iso_media, _text):
        found = recognize(head)
        if found is not None:
            return found
    return UNKNOWN


def _riff(head: bytes) -> FileKind | None:
    if head[:4] != b"RIFF":
        return None
    match head[8:12]:
        case b"AVI ":
            return AVI
        case b"WEBP":
            # VP8X is the extended header; bit 1 of its flags says "animation".
            animated = head[12:16] == b"VP8X" and len(head) > 20 and bool(head[20] & 2)  # noqa: PLR2004
            return ANIMATED_WEBP if animated else WEBP
        case b"WAVE":
            return FileKind("WAV audio", "other")
    return None


def _png(head: bytes) -> FileKind | None:
    if not head.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    before_pixels = head.split(b"IDAT", 1)[0]
    return ANIMATED_PNG if b"acTL" in before_pixels else PNG


def _iso_media(head: bytes) -> FileKind | None:
    if head[4:8] not in _MP4_BOXES:
        return None
    brand = head[8:12]
    if head[4:8] != b"ftyp" or brand not in (*_AVIF_BRANDS, *_HEIC_BRANDS, *_HEIF_BRANDS):
        return MP4
    end = min(int.from_bytes(head[:4]), len(head))
    brands = {brand, *(head[at : at + 4] for at in range(16, end, 4))}
    if b"avis" in brands:
        return ANIMATED_AVIF
    return AVIF if b"avif" in brands else HEIC


def _text(head: bytes) -> FileKind | None:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(_MARKUP):
        return FileKind("a web page or XML document", "other")
    # The head may end inside a character: up to three bytes of it are cut off.
    text = head[:-3] if len(head) == HEAD_BYTES else head
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError:
        return None
    is_text = decoded and all(char.isprintable() or char.isspace() for char in decoded)
    return TEXT if is_text else None
