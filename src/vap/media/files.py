"""Check files from outside before they are opened: present, recognized, whole.

By hand, because FFmpeg's own probing also opens playlists and scripts that name other files; the
kind decides the one demuxer or decoder that is tried. Containers that are cut off, and MP4 tables
that claim more than the file has, are refused, because FFmpeg reads what is left without an error:
of 299 cuts through a clip of 8 frames, 209 of a WebM, 206 of an MKV, 256 of a GIF and 11 of a
fragmented MP4 become a shorter clip. An MP4 of 21 kB whose table claims 20 million samples takes
FFmpeg 3.6 s and 1.2 GB. PNG and WebP need no check: their decoders refuse every cut. Only headers
are read here.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from vap.files.errors import MachineError, MediaError, blame, refusal
from vap.media.limits import MediaLimits

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


_ENDS_EARLY = "the file ends early, at {have:,} of at least {need:,} bytes"
_BROKEN = "its structure breaks at byte {at:,}"
_MAX_STEPS = 1_000_000  # one or two seconds; a file of more blocks is left to its decoder


def find_damage(file: BinaryIO, kind: FileKind) -> str | None:
    """Say how an open file is damaged, as a clause; None if it is whole or needs no check."""
    check = _CHECKS.get(kind)
    size = os.fstat(file.fileno()).st_size
    try:
        return check(file, size) if check else None
    except (struct.error, IndexError):
        return _ENDS_EARLY.format(have=size, need=size + 1)


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)


_INDEX_PATH = (b"trak", b"mdia", b"minf", b"stbl", b"stsz")  # from "moov" to the sample sizes
_CONTENT = {b"moov", b"mdat"}
# What files consist of; anything else after the content is junk, which players ignore.
_BOXES = _CONTENT | {b"ftyp", b"styp", b"moof", b"mfra", b"sidx", b"ssix", b"prft", b"emsg"}
_BOXES |= {b"pdin", b"meta", b"meco", b"uuid", b"udta", b"pnot", b"free", b"skip", b"wide"}


def _mp4(file: BinaryIO, size: int) -> str | None:
    whole: set[bytes] = set()
    for kind, start, end in _boxes(file, 0, size):
        if end > size:
            is_junk = kind not in _BOXES and whole >= _CONTENT
            return None if is_junk else _ENDS_EARLY.format(have=size, need=end)
        whole.add(kind)
        if kind == b"moov" and (damage := _mp4_tables(file, start, end, size)):
            return damage
    return (
        None if b"moov" in whole else "it has no index (no 'moov' box): the recording was cut off"
    )


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes of an MP4 between two offsets: (kind, start of content, end)."""
    for _ in range(_MAX_STEPS):
        if end - start < 8:  # noqa: PLR2004  (length and kind)
            return
        length, kind = struct.unpack(">I4s", _read(file, start, 8))
        content = start + 8
        if length == 1:
            (length,) = struct.unpack(">Q", _read(file, content, 8))
            content += 8
        stop = end if length == 0 else start + length
        yield kind, content, stop
        if stop < content:
            return
        start = stop


def _mp4_tables(
    file: BinaryIO, start: int, end: int, size: int, path: tuple[bytes, ...] = _INDEX_PATH
) -> str | None:
    for kind, content, stop in _boxes(file, start, end):
        if not content <= stop <= end:
            return _BROKEN.format(at=content)
        if kind == path[0] == b"stsz":
            _, sample_bytes, count = struct.unpack(">III", _read(file, content, 12))
            if count * (sample_bytes or 4) > (size if sample_bytes else stop - content):
                return f"its index lists {count:,} samples, more than the file can contain"
        elif kind == path[0] and (damage := _mp4_tables(file, content, stop, size, path[1:])):
            return damage
    return None


_SEGMENT = b"\x18\x53\x80\x67"
_ELEMENTS = {b"\x1a\x45\xdf\xa3", _SEGMENT}  # a second recording may follow the first


def _matroska(file: BinaryIO, size: int) -> str | None:
    at, has_content = 0, False
    for _ in range(_MAX_STEPS):
        if at >= size:
            break
        head = _read(file, at, 16)
        if has_content and head[:4] not in _ELEMENTS:
            return None  # padding or junk, which players ignore
        has_content |= head[:4] == _SEGMENT
        id_length = _leading_zeros(head[0]) + 1
        length_bytes = _leading_zeros(head[id_length]) + 1
        claimed = head[id_length : id_length + length_bytes]
        if id_length > 4 or length_bytes > 8 or len(claimed) < length_bytes:  # noqa: PLR2004  (EBML)
            return _BROKEN.format(at=at)
        length = int.from_bytes(claimed) - (1 << 7 * length_bytes)
        if length == (1 << 7 * length_bytes) - 1:  # all ones: unknown, a live recording
            return None
        at += id_length + length_bytes + length
    return _ENDS_EARLY.format(have=size, need=at) if at > size else None


def _leading_zeros(byte: int) -> int:
    return 8 - byte.bit_length()


def _avi(file: BinaryIO, size: int) -> str | None:
    (length,) = struct.unpack("<I", _read(file, 4, 4))
    return _ENDS_EARLY.format(have=size, need=length + 8) if length + 8 > size else None


def gif_header_bytes(head: bytes) -> int:
    """Bytes of a GIF before its first block: signature, screen, global palette."""
    return 13 + _palette_bytes(head[10])


def _gif(file: BinaryIO, size: int) -> str | None:
    at = gif_header_bytes(_read(file, 0, 13))
    for _ in range(_MAX_STEPS):
        match _read(file, at, 1):
            case b"":
                return _ENDS_EARLY.format(have=size, need=at + 1)
            case b";":
                return None
            case b"!":
                at = _skip_blocks(file, at + 2)
            case b",":
                at = _skip_blocks(file, at + 11 + _palette_bytes(_read(file, at + 9, 1)[0]))
            case _:
                return _BROKEN.format(at=at)
    return None


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_blocks(file: BinaryIO, at: int) -> int:
    """Offset after a chain of length-prefixed blocks that ends with an empty one."""
    for _ in range(_MAX_STEPS):
        length = _read(file, at, 1)[0]
        at += length + 1
        if length == 0:
            break
    return at


_CHECKS: dict[FileKind, Callable[[BinaryIO, int], str | None]] = {
    MP4: _mp4,
    MATROSKA: _matroska,
    AVI: _avi,
    GIF: _gif,
}


_COPY_AGAIN = "Copy, download or export it again."


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file that exists, is readable and, as far as its structure tells, whole."""

    path: Path
    kind: FileKind


def check_file(path: Path, limits: MediaLimits) -> CheckedFile:
    """Recognize a file; refuse it if it is missing, unreadable, too large or cut off."""
    try:
        _check_regular(path)
        limits.check_bytes(path, path.stat().st_size)
        with path.open("rb") as file:
            kind = identify(file.read(HEAD_BYTES))
            damage = find_damage(file, kind)
    except OSError as error:
        raise unreadable(path, error) from error
    if damage is not None:
        raise refusal(path, f"{damage} (it is {kind.title})", _COPY_AGAIN)
    return CheckedFile(path, kind)


def is_folder(path: Path) -> bool:
    """Whether there is a folder of this name; an impossible name is a ``MediaError``."""
    try:
        return path.is_dir()
    except OSError as error:
        raise unreadable(path, error) from error


def mislabeled(file: CheckedFile, expected: str, fix: str) -> MediaError:
    """Build the error for a file of another kind than expected (``"a video"``)."""
    return refusal(file.path, f"its content is {file.kind.title}, not {expected}", fix)


def unreadable(path: Path, error: OSError) -> MediaError | MachineError:
    """Build the error for a file that the operating system cannot read."""
    if isinstance(error, PermissionError):
        return refusal(path, "permission denied", "Make it readable for this user, or copy it.")
    return blame(path, error, f"it cannot be read ({error.strerror or error})", _COPY_AGAIN)


@contextmanager
def blaming(
    path: Path, errors: tuple[type[Exception], ...], problem: str, fix: str
) -> Iterator[None]:
    """Turn errors of a decoder in the block into one that names the file."""
    try:
        yield
    except (MediaError, MachineError):
        raise
    except errors as error:
        message = str(error).replace(str(path), path.name).rstrip(".")
        reason = getattr(error, "strerror", None) or message
        raise blame(path, error, f"{problem} ({reason})", fix) from error


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    try:
        _check_regular(path)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error


def _check_regular(path: Path) -> None:
    """Refuse missing files, pipes and devices: reading the latter may never end."""
    if not path.exists():
        is_web = str(path).startswith(("http:", "https:"))
        fix = "Web addresses are not read: download the file first."
        fix = fix if is_web else "Check the path and the current directory."
        raise refusal(path, "there is no such file", fix)
    if not path.is_file():
        fix = "Give a media file or a folder of frames."
        raise refusal(path, "it is not a regular file", fix)
