"""Sixty files that are not what they say, each with the words that its refusal must contain."""

import gzip
import io
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tests.media.making import animate, audio_only, encode, flat, moving
from vap.media import read_clip, read_image, write_video


@dataclass(frozen=True)
class Case:
    """One malformed source: how to make it, who refuses it, and in which words."""

    name: str
    make: Callable[[Path], object]
    match: str
    read: Callable = read_clip


def noise(count=8):
    return np.random.default_rng(0).integers(0, 255, (count, 48, 64, 3), dtype=np.uint8)


def whole(path):
    """A sound file of the kind that the suffix says."""
    images = [Image.fromarray(frame) for frame in noise()]
    match path.suffix:
        case ".webp" | ".png":
            animate(path, images, [50] * len(images))
        case ".jpg":
            images[0].save(path)
        case ".avi" | ".mkv" | ".mov":
            encode(path, noise())
        case _:
            write_video(noise(), path, 16)
    return path.read_bytes()


def cut(share):
    def make(path):
        data = whole(path)
        path.write_bytes(data[: int(len(data) * share)])

    return make


def holding(content):
    return lambda path: path.write_bytes(content() if callable(content) else content)


def scratch(suffix):
    """Bytes of a sound file of another kind."""

    def content():
        with tempfile.TemporaryDirectory() as folder:
            return whole(Path(folder) / f"a{suffix}")

    return content


def patched(marker, offset, value):
    """A sound file in which some bytes after a marker claim something else."""

    def make(path):
        data = bytearray(whole(path))
        at = data.index(marker) + offset
        data[at : at + len(value)] = value
        path.write_bytes(data)

    return make


def random_after(magic):
    return magic + np.random.default_rng(1).bytes(50_000)


def png(width, height, size):
    """A PNG that says width x height and holds ``size`` bytes of pixels."""

    def chunk(kind, content):
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(size))
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def zipped():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a.txt", "a")
    return target.getvalue()


def nothing(path):
    """Leave the file out."""
    del path


def huge_sparse(path):
    with path.open("wb") as file:
        file.truncate(5 * 1024**3)


def folder_of(*names):
    def make(path):
        path.mkdir()
        for name in names:
            (path / name).write_text("x")

    return make


def mixed_folder(path):
    path.mkdir()
    for index, size in enumerate([(8, 8), (8, 8), (9, 8)]):
        Image.new("RGB", size).save(path / f"{index}.png")


def damaged_folder(path):
    path.mkdir()
    for index in range(3):
        Image.fromarray(noise(1)[0]).save(path / f"{index}.png")
    (path / "1.png").write_bytes((path / "1.png").read_bytes()[:-500])


def many_frames(path):
    write_video(flat(*[0] * 9, size=(16, 16)), path, 16)
    data = path.read_bytes()
    head = 13 + 768 + 19
    path.write_bytes(data[:head] + data[head:-1] * 4000 + b";")


def wide_webm(path):
    """A WebM whose VP9 key frame says 65536 x 65536 pixels, as its container does."""
    encode(path, moving(2, 256, 256), "libvpx-vp9")
    data = bytearray(path.read_bytes())
    size = data.index(b"\xb0\x82\x01\x00\xba\x82\x01\x00")
    data[size + 2 : size + 4] = data[size + 6 : size + 8] = b"\xff\xff"
    # After the sync code: four bits of color, then width and height less one, 16 bits each.
    start = data.index(b"\x49\x83\x42") + 3
    data[start] |= 0x0F
    data[start + 1 : start + 4] = b"\xff\xff\xff"
    data[start + 4] |= 0xF0
    path.write_bytes(data)


def gif_of_dots(path):
    """A GIF of 3,000 frames of 25 million pixels, each of which draws one of them."""
    head = b"GIF89a" + struct.pack("<HHBBB", 5000, 5000, 0x80, 0, 0) + bytes(6)
    dot = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    path.write_bytes(head + (b"!\xf9\x04\x04\x0a\x00\x00\x00" + dot) * 3000 + b";")


def webp_of_dots(path):
    """An animated WebP of 200 frames of 25 million pixels, each of which draws four of them."""

    def chunk(kind, content):
        return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)

    def three(*values):
        return b"".join(value.to_bytes(3, "little") for value in values)

    dot = io.BytesIO()
    Image.new("RGB", (2, 2)).save(dot, "WEBP", lossless=True)
    frame = three(0, 0, 1, 1, 100) + b"\x02" + dot.getvalue()[12:]
    body = b"WEBP" + chunk(b"VP8X", b"\x02\0\0\0" + three(4999, 4999)) + chunk(b"ANIM", bytes(6))
    body += chunk(b"ANMF", frame) * 200
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)


def apng_of_dots(path):
    """An animated PNG of 300 frames of 25 million pixels, each of which draws one of them."""

    def chunk(kind, *values):
        content = b"".join(v if isinstance(v, bytes) else v.to_bytes(4) for v in values)
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    delay = struct.pack(">HHBB", 1, 10, 0, 0)
    first = zlib.compress(bytes(5001 * 5000), 9)
    parts = [chunk(b"IHDR", 5000, 5000, b"\x08\0\0\0\0"), chunk(b"acTL", 300, 0)]
    parts += [chunk(b"fcTL", 0, 5000, 5000, 0, 0, delay), chunk(b"IDAT", first)]
    for number in range(299):
        parts += [chunk(b"fcTL", 2 * number + 1, 1, 1, 0, 0, delay)]
        parts += [chunk(b"fdAT", 2 * number + 2, zlib.compress(b"\0\0"))]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND"))


def jpeg_of_scans(path):
    """A progressive JPEG that refines its 25 million pixels 3,000 times."""
    Image.new("L", (5000, 5000)).save(path, "JPEG", progressive=True)
    content = path.read_bytes()
    path.write_bytes(content[:-2] + content[content.rindex(b"\xff\xda") : -2] * 3000 + content[-2:])


def repeated(count, times):
    """An H.264 video whose last packet, a copy of the frame before, comes again and again."""

    def make(path):
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
            blank = av.VideoFrame.from_ndarray(np.zeros((1080, 1280), np.uint8), "yuv420p")
            packets = [bytes(p) for _ in range(9) for p in stream.encode(blank)]
            packets += [bytes(p) for p in stream.encode()]
            for number in range(count):
                packet = av.Packet(packets[min(number, len(packets) - 1)])
                packet.stream, packet.time_base = stream, Fraction(1, 30)
                packet.pts = packet.dts = times(number)
                container.mux(packet)

    return make


CUT = "ends early|breaks|cut off|unrecognized|decoded"
SHARES = (0.02, 0.2, 0.5, 0.8, 0.999)
TRUNCATED = [
    Case(
        f"cut{int(share * 1000)}{suffix}",
        cut(share),
        "ends early|breaks|cut off|unrecognized|decoded",
    )
    for suffix in (".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif", ".png", ".webp")
    for share in SHARES
]
MISLABELLED = [
    Case("text.mp4", holding(b"hello, this is no video\n"), "a text file"),
    Case("lfs.mp4", holding(b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
    Case("page.mp4", holding(b"\n<!DOCTYPE html><html></html>"), "web page"),
    Case("archive.mp4", holding(zipped), "ZIP archive"),
    Case("gzip.webm", holding(gzip.compress(b"x")), "gzip archive"),
    Case("document.mp4", holding(b"%PDF-1.7 ..."), "PDF document"),
    Case("photo.mp4", holding(scratch(".jpg")), "a JPEG image.*A still shows no motion"),
    Case("photo.gif", holding(scratch(".jpg")), "a JPEG image"),
    Case("wave.mp4", holding(b"RIFF\x04\x00\x00\x00WAVE"), "WAV audio"),
    Case("video.jpg", holding(scratch(".mp4")), "MP4.*not an image", read_image),
    Case("video.png", holding(scratch(".webm")), "WebM.*not an image", read_image),
    Case("text.png", holding(b"no picture"), "a text file, not an image", read_image),
    Case("script.png", holding(b"%!PS-Adobe-3.0 EPSF\n"), "a text file, not an image", read_image),
]
EMPTY = [
    Case("empty.mp4", holding(b""), r"empty \(0 bytes\)"),
    Case("empty.png", holding(b""), r"empty \(0 bytes\)", read_image),
    Case("missing.mp4", nothing, "no such file.*Check the path"),
    Case("missing.png", nothing, "no such file", read_image),
    Case("x" * 300 + ".mp4", nothing, "name too long"),
    Case("pipe.mp4", os.mkfifo, "not a regular file"),
    Case("folder", folder_of(), "no images in this folder"),
    Case("texts", folder_of("a.txt", "b.mp4"), "no images in this folder"),
    Case("folder.png", folder_of("a.png"), "a folder, not an image", read_image),
    Case("fake", folder_of("1.png", "2.png"), "cannot be decoded|text file"),
    Case("mixed", mixed_folder, r"2\.png: it is 9x8, but the first frame is 8x8"),
    Case("damaged", damaged_folder, r"1\.png: it cannot be decoded"),
    Case("audio.m4a", lambda path: audio_only(path, "aac"), "no video stream, only audio"),
    Case("audio.mp4", lambda path: audio_only(path, "aac"), "no video stream, only audio"),
    Case("audio.mkv", lambda path: audio_only(path, "flac"), "no video stream, only audio"),
    Case("single.mp4", lambda path: write_video(moving(1), path, 16), "1 frame,.*still shows no"),
    Case("single.gif", lambda path: write_video(moving(1), path, 16), "1 frame,.*still shows no"),
]
DAMAGED = [
    Case("random.mp4", holding(random_after(b"\x01\x02")), "unrecognized data"),
    Case(
        "random.mov", holding(random_after(b"\x00\x00\x00\x14ftypqt  ")), "ends early|breaks|index"
    ),
    Case("random.mkv", holding(random_after(b"\x1aE\xdf\xa3")), "ends early|breaks|decoded"),
    Case("random.gif", holding(random_after(b"GIF89a")), "ends early|breaks"),
    Case("random.avi", holding(random_after(b"RIFF\x10\x00\x00\x00AVI ")), "no streams"),
    Case("random.jpg", holding(random_after(b"\xff\xd8\xff")), "cannot be decoded", read_image),
    Case("random.webp", holding(random_after(b"RIFF\x10\x00\x00\x00WEBP")), "decoded", read_image),
    Case("random.tif", holding(random_after(b"II*\x00")), "cannot be decoded", read_image),
    Case("middle.mp4", patched(b"mdat", 4000, bytes(3000)), r"frame \d+ is damaged|decoded"),
    Case("codec.mp4", patched(b"stsd", 16, b"zzzz"), "codec is unknown"),
    Case("frames.webp", patched(b"VP8 ", 8, bytes(20)), "cannot be decoded"),
    Case("noindex.mp4", patched(b"moov", 0, b"free"), "no index"),
]
ABSURD = [
    Case("sparse.mp4", huge_sparse, "5,368,709,120 bytes, more than"),
    Case("samples.mp4", patched(b"stsz", 12, b"\x7f\xff\xff\xff"), "2,147,483,647 samples"),
    Case("bytes.mp4", patched(b"stsz", 8, b"\0\0\0\1\x7f\xff\xff\xff"), "2,147,483,647 samples"),
    Case("long.mkv", lambda path: encode(path, flat(0, 9), times=[0, 10**6]), "62,500.. s|lasts"),
    Case("wide.webm", wide_webm, "65535x65535|above the 35,389,440"),
    Case("wide.gif", patched(b"GIF89a", 6, b"\xff\xff\xff\xff"), "above the 35,389,440"),
    Case("many.gif", many_frames, "at least 20,001 frames"),
    Case("wide.png", holding(lambda: png(60_000, 60_000, 100)), "more pixels than", read_image),
    Case("bomb.png", holding(lambda: png(9_000, 9_000, 100_000)), "9000x9000", read_image),
    Case("dots.gif", gif_of_dots, r"75,000,000,000 pixels .* bytes.*Scale it down"),
    Case("dots.webp", webp_of_dots, "5,000,000,000 pixels"),
    Case("dots.png", apng_of_dots, "7,500,000,000 pixels"),
    Case("scans.jpg", jpeg_of_scans, r"75,[0-9]{3},000,000 pixels", read_image),
    Case("still.mp4", repeated(15_000, lambda number: number), "13,824,000,000 pixels"),
    Case("short.png", holding(lambda: png(2_000, 2_000, 10_000)), "cannot be decoded", read_image),
]
CASES = [*TRUNCATED, *MISLABELLED, *EMPTY, *DAMAGED, *ABSURD]
