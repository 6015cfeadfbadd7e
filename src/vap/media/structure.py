"""Refuse containers that are cut off, and MP4 tables that claim more than the file has.

Written by hand because FFmpeg reads what is left without an error: of 299 cuts through a clip of
8 frames, 209 of a WebM, 206 of an MKV, 256 of a GIF and 11 of a fragmented MP4 become a shorter
clip. An MP4 of 21 kB whose table claims 20 million samples takes FFmpeg 3.6 s and 1.2 GB. PNG and
WebP need no check: their decoders refuse every cut. Only headers are read here.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

from vap.media import sniff

_ENDS_EARLY = "the file ends early, at {have:,} of at least {need:,} bytes"
_BROKEN = "its structure breaks at byte {at:,}"
_MAX_STEPS = 1_000_000  # one or two seconds; a file of more blocks is left to its decoder


def find_damage(file: BinaryIO, kind: sniff.FileKind) -> str | None:
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
        None if b"moov" in whole else "it has no index (no 'moov' box): its recording was cut off"
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
                return f"its index claims {count:,} samples, more than the file can hold"
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


_CHECKS: dict[sniff.FileKind, Callable[[BinaryIO, int], str | None]] = {
    sniff.MP4: _mp4,
    sniff.MATROSKA: _matroska,
    sniff.AVI: _avi,
    sniff.GIF: _gif,
}
