import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from vap.serving.uploads.check import RefusedUploadError, check_file
from vap.serving.uploads.probe import ProbeLimits, probe

LIMITS = ProbeLimits(seconds=10, pixels=1_000_000, memory=1 << 30, time=20)


def png_of(width: int, height: int) -> bytes:
    """The header of a large image, with hardly any data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def test_kinds_and_sizes_are_told(samples: SimpleNamespace) -> None:
    image = probe(samples.image, LIMITS)
    assert (image.kind, image.width, image.height, image.frames) == ("image", 48, 32, None)
    video = probe(samples.video, LIMITS)
    assert (video.kind, video.width, video.frames, video.seconds) == ("video", 48, 5, 0.625)


def test_a_process_tells_the_same(samples: SimpleNamespace) -> None:
    assert check_file(samples.video, LIMITS) == probe(samples.video, LIMITS)


HOSTILE = {
    "empty": b"",
    "text": b"#EXTM3U\nhttp://127.0.0.1/secret\n",
    "page": b"<html><script>alert(1)</script></html>",
    "drawing": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
    "playlist": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00.",
    "archive": b"PK\x03\x04" + b"\0" * 100,
    "program": b"\x7fELF" + b"\0" * 100,
    "header alone": b"\x89PNG\r\n\x1a\n",
    "huge image": png_of(50_000, 50_000),
    "huge gif": b"GIF89a\xff\xff\xff\xff\x80\x00\x00" + b"\0" * 50,
    "mp4 without boxes": b"\0\0\0\x18ftypisom\0\0\0\0isom",
    "mp4 with a large box": b"\0\0\0\x18ftypisom\0\0\0\0isomisom\xff\xff\xff\xffmoov",
    "matroska": b"\x1aE\xdf\xa3" + b"\xff" * 100,
    "avi": b"RIFF\xff\xff\xff\xffAVI LIST",
    "large header": struct.pack("<Q", 1 << 60) + b"{",
    "tensors of nothing": struct.pack("<Q", 2) + b"{}",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_bytes(content)
    with pytest.raises((ValueError, OSError)):
        probe(path, LIMITS)


def test_limits_of_pixels_and_length_are_kept(samples: SimpleNamespace, tmp_path: Path) -> None:
    for path, limits in (
        (samples.image, ProbeLimits(10, 1000, 1 << 30, 20)),
        (samples.video, ProbeLimits(10, 1000, 1 << 30, 20)),
        (samples.video, ProbeLimits(0.5, 1_000_000, 1 << 30, 20)),
    ):
        with pytest.raises(ValueError, match="allowed"):
            probe(path, limits)


@pytest.mark.slow
def test_a_decoder_without_memory_refuses(tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    Image.new("L", (9000, 9000)).save(image, compress_level=1)
    with pytest.raises(RefusedUploadError):
        check_file(image, ProbeLimits(10, 100_000_000, 150 << 20, 20))


@pytest.mark.slow
@pytest.mark.parametrize(
    "attack",
    ["exec('while True: pass')", "bytearray(1 << 30)", "open('written', 'wb', 0).write(b'x')"],
    ids=["time", "memory", "file"],
)
def test_a_decoder_gone_astray_ends(attack: str, tmp_path: Path) -> None:
    start = "from vap.serving.uploads.probe import *; confine(ProbeLimits(1, 1, 1 << 28, 1)); "
    command = [sys.executable, "-c", start + attack.replace("written", str(tmp_path / "file"))]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
    assert not any(path.stat().st_size for path in tmp_path.iterdir())


@pytest.mark.slow
def test_a_process_that_dies_is_a_refusal(
    samples: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RefusedUploadError, match="decoded"):
        check_file(samples.image, LIMITS)


@pytest.mark.slow
def test_a_problem_does_not_name_the_place(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_bytes(HOSTILE["huge image"])
    with pytest.raises(RefusedUploadError) as found:
        check_file(path, LIMITS)
    assert str(tmp_path) not in json.dumps(str(found.value))
