"""Whether a container is whole: the sizes it claims, compared with the bytes there are.

FFmpeg plays what is left of a truncated file and stays silent; a reference clip that ends early
would go unnoticed. Every walk below touches headers only, never the pixels.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from typing import BinaryIO

from vap.media import sniff

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # but what stands within a scan
_ENDS_EARLY = "the file ends early, at {have:,} of at least {need:,} bytes"
_BROKEN = "its structure breaks at byte {at:,}"
_INDEX_PATH = (b"trak", b"mdia", b"minf", b"stbl", b"stsz")  # from "moov" to the sample sizes
_MAX_STEPS = 1_000_000  # a second or two; a file of nothing but tiny blocks is left to its decoder


def find_damage(file: BinaryIO, kind: sniff.FileKind) -> str | None:
    """Say how the structure of a media file is broken.

    Args:
        file: The open file; its position is moved.
        kind: What the file is.

    Returns:
        The damage as a clause, or None if the structure is whole or not known.
    """
    walk = _WALKS.get(kind)
    if walk is None:
        return None
    file.seek(0)
    size = os.fstat(file.fileno()).st_size
    try:
        return walk(file, size)
    except (struct.error, IndexError):
        return _ENDS_EARLY.format(have=size, need=size + 1)


_GIF_SCREEN = 13  # signature and screen descriptor
_BOX_HEADER = 8  # length and kind, four bytes each
_CONTENT = {b"moov", b"mdat"}
# What files consist of. Anything else after the content is junk that players pass over, too.
_BOXES = _CONTENT | {b"ftyp", b"styp", b"moof", b"mfra", b"sidx", b"ssix", b"prft", b"emsg"}
_BOXES |= {b"pdin", b"meta", b"meco", b"uuid", b"udta", b"pnot", b"free", b"skip", b"wide"}


def _mp4(file: BinaryIO, size: int) -> str | None:
    whole: set[bytes] = set()
    for kind, start, end in _boxes(file, 0, size):
        if end > size:
            if kind not in _BOXES and whole >= _CONTENT:
                return None
            return _ENDS_EARLY.format(have=size, need=end)
        whole.add(kind)
        if kind == b"moov":
            damage = _mp4_tables(file, start, end, size)
            if damage:
                return damage
    if b"moov" in whole:
        return None
    return "it has no index (no 'moov' box): its recording was cut off"


def _boxes(file: BinaryIO, start: int, end: int) -> list[tuple[bytes, int, int]]:
    """Boxes of an MP4 between two offsets as (kind, start of content, end)."""
    found: list[tuple[bytes, int, int]] = []
    while end - start >= _BOX_HEADER and len(found) < _MAX_STEPS:
        file.seek(start)
        length, kind = struct.unpack(">I4s", file.read(_BOX_HEADER))
        content = start + _BOX_HEADER
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
            content += 8
        stop = end if length == 0 else start + length
        found.append((kind, content, stop))
        if stop < content:
            break
        start = stop
    return found


def _mp4_tables(
    file: BinaryIO, start: int, end: int, size: int, path: tuple[bytes, ...] = _INDEX_PATH
) -> str | None:
    """Refuse sample tables that claim more samples than their bytes, or the file, can hold."""
    for kind, content, stop in _boxes(file, start, end):
        if not content <= stop <= end:
            return _BROKEN.format(at=content)
        if kind != path[0]:
            continue
        if kind == b"stsz":
            file.seek(content)
            _, sample_bytes, count = struct.unpack(">III", file.read(12))
            if count * (sample_bytes or 4) > (size if sample_bytes else stop - content):
                return f"its index claims {count:,} samples, more than the file can hold"
            continue
        damage = _mp4_tables(file, content, stop, size, path[1:])
        if damage:
            return damage
    return None


_SEGMENT = b"\x18\x53\x80\x67"
_ELEMENTS = {b"\x1a\x45\xdf\xa3", _SEGMENT}  # a second recording may follow the first


def _matroska(file: BinaryIO, size: int) -> str | None:
    at, has_content = 0, False
    for _ in range(_MAX_STEPS):
        if at >= size:
            break
        file.seek(at)
        head = file.read(16)
        if has_content and head[:4] not in _ELEMENTS:
            return None  # padding or junk, which players pass over, too
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


def _riff(file: BinaryIO, size: int) -> str | None:
    file.seek(4)
    (length,) = struct.unpack("<I", file.read(4))
    return _ENDS_EARLY.format(have=size, need=length + 8) if length + 8 > size else None


def _png(file: BinaryIO, size: int) -> str | None:
    at = 8
    for _ in range(_MAX_STEPS):
        if at >= size:
            break
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        at += length + 12
        if at <= size and kind == b"IEND":
            return None
    return _ENDS_EARLY.format(have=size, need=max(at, size + 12)) if at >= size else None


def gif_header_bytes(head: bytes) -> int:
    """Bytes of a GIF before its first block: signature, screen, palette of the whole file."""
    return _GIF_SCREEN + _palette_bytes(head[10])


def _gif(file: BinaryIO, size: int) -> str | None:
    at = gif_header_bytes(file.read(_GIF_SCREEN))
    for _ in range(_MAX_STEPS):
        if at >= size:
            break
        file.seek(at)
        match file.read(1):
            case b";":
                return None
            case b"!":
                at = _skip_blocks(file, at + 2)
            case b",":
                file.seek(at + 9)
                at = _skip_blocks(file, at + 11 + _palette_bytes(file.read(1)[0]))
            case _:
                return _BROKEN.format(at=at)
    return _ENDS_EARLY.format(have=size, need=at + 1) if at >= size else None


def jpeg_scans(data: bytes) -> int:
    """Passes over the pixels of a JPEG: one, or about ten where it is progressive."""
    at, scans = 2, 0
    while at + 4 <= len(data) and data[at + 1] != _END_OF_IMAGE:
        if data[at + 1] == _START_OF_SCAN:
            scans += 1
            marker = _MARKER.search(data, at + 2)
            at = marker.start() if marker else len(data)
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return scans


def _palette_bytes(flags: int) -> int:
    """Bytes of the palette that a screen or image descriptor announces."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_blocks(file: BinaryIO, at: int) -> int:
    """Offset after a chain of length-prefixed blocks that ends with an empty one."""
    for _ in range(_MAX_STEPS):
        file.seek(at)
        length: int = file.read(1)[0]
        at += length + 1
        if length == 0:
            break
    return at


_WALKS: dict[sniff.FileKind, Callable[[BinaryIO, int], str | None]] = {
    sniff.MP4: _mp4,
    sniff.MATROSKA: _matroska,
    sniff.AVI: _riff,
    sniff.WEBP: _riff,
    sniff.ANIMATED_WEBP: _riff,
    sniff.PNG: _png,
    sniff.ANIMATED_PNG: _png,
    sniff.GIF: _gif,
}
