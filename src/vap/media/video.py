"""Read video containers, GIF and animated PNG through FFmpeg."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from PIL import Image

from vap.files.errors import refusal
from vap.media.files import ANIMATED_PNG, AVI, CheckedFile, blaming, hash_file
from vap.media.images import opened
from vap.media.limits import MediaLimits
from vap.media.pixels import RGB, are_plain, managed, on_white, resize, to_srgb
from vap.media.timing import Shot, Source, Timeline

# FFmpeg's flags BILINEAR, FULL_CHR_H_INT, ACCURATE_RND, BITEXACT: chroma interpolated at full
# resolution and rounded exactly, so that every processor makes the same pixels.
SCALER = 0x2 | 0x2000 | 0x40000 | 0x80000
_REPAIR = "Export or download it again, or repair it: ffmpeg -i INPUT -c:v libx264 fixed.mp4"
# FFmpeg's own decoders of these leave transparency out; the libraries, where built in, do not.
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# What PyAV raises: FFmpeg's errors, and Python's for what has no code there.
_DECODER_ERRORS = (av.FFmpegError, ArithmeticError, MemoryError, OSError, RuntimeError, ValueError)
_BT709, _BT601 = 1, 6
_MATRICES = {_BT709, 4, 5, _BT601, 7, 9}  # that FFmpeg's scaler has, numbered as in ITU-T H.273
_UNSPECIFIED = {0, 2, 3}  # not YUV's, unspecified, reserved
_HD_WIDTH, _SD_HEIGHT = 1280, 576  # above, players take BT.709 where no matrix is given
_MOST_PACKETS = 2  # of a frame: fields, or one that is not shown
_TAIL = 3  # packets at the end of which one must be decoded; some codecs have invisible ones
_UNSAFE_SIDE_DATA = {"apng", "png"}
_UNIT = 1 << 16  # fixed-point one of a display matrix


@dataclass(frozen=True, slots=True)
class _Geometry:
    """How stored pixels are displayed: size in pixels, an orthogonal turn, colors."""

    width: int
    height: int
    turn: tuple[int, int, int, int]
    notes: Mapping[Any, Any]  # an animated PNG's, for its colors

    @property
    def displayed(self) -> tuple[int, int]:
        """Height and width after the turn."""
        sideways = self.turn[0] == 0
        return (self.width, self.height) if sideways else (self.height, self.width)


def open_video(file: CheckedFile, limits: MediaLimits) -> Source:
    """Read size and frame times of a video; of its frames, only the first is decoded."""
    path = file.path
    with open_container(file, limits) as container:
        stream = _video_stream(path, container)
        codec = stream.codec_context
        if not codec.width:  # FFmpeg leaves out what max_pixels forbids
            problem = f"its frame size is missing or above the {limits.pixels:,} pixels allowed"
            raise refusal(path, problem, "Scale it down. In Python, raise MediaLimits.pixels.")
        limits.check_size(path, codec.width, codec.height)
        aspect = stream.sample_aspect_ratio or Fraction(1)
        starts, end = _packet_times(path, container, stream, limits)
        timeline = Timeline(starts, end, stream.time_base, stream.average_rate)
        limits.check_length(path, len(starts), float(timeline.seconds))
    # The display matrix is only known from a frame, so the first one is decoded here.
    with open_container(file, limits) as container:
        stream = _video_stream(path, container)
        first = next(_decode(path, stream, limits), None)
        if first is None:
            raise refusal(path, "none of its frames can be decoded", _REPAIR)
        # Non-square pixels are enlarged, never squeezed.
        columns = round(first.width * max(aspect, Fraction(1)))
        rows = round(first.height / min(aspect, Fraction(1)))
        turn = _turn(first, codec.name)
        geometry = _Geometry(columns, rows, turn, _notes(file, limits))
    height, width = geometry.displayed
    limits.check_size(path, width, height)
    kind, file_bytes = file.kind.demuxer or "video", path.stat().st_size
    shots, digest = partial(_shots, file, limits, geometry, starts), partial(hash_file, path)
    return Source(path.name, kind, width, height, timeline, shots, digest, file_bytes)


@contextmanager
def open_container(file: CheckedFile, limits: MediaLimits) -> Iterator[Any]:
    """Open a file with the demuxer of its recognized kind, and no other."""
    options = {"max_pixels": str(limits.pixels)}  # FFmpeg refuses before it allocates a frame
    name, form = str(file.path.absolute()), file.kind.demuxer
    with (
        _decoding(file),
        av.open(name, format=form, options=options, metadata_errors="replace") as container,
    ):
        yield container


def _decoding(file: CheckedFile) -> AbstractContextManager[None]:
    """Turn FFmpeg's errors into one that names the file."""
    return blaming(
        file.path, _DECODER_ERRORS, f"it cannot be decoded as {file.kind.title}", _REPAIR
    )


def _video_stream(path: Path, container: Any) -> Any:
    """The first stream of moving pictures; the cover of an audio file is not one."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if stream.codec_context is None:
                raise refusal(path, "its video codec is unknown", _REPAIR)
            stream.thread_type = "AUTO"
            return stream
    others = " and ".join(sorted({stream.type for stream in container.streams} - {"video"}))
    problem = f"it has no video stream, only {others}" if others else "it has no streams"
    raise refusal(path, problem, "Give a file with pictures, or export it with its video track.")


def _packet_times(
    path: Path, container: Any, stream: Any, limits: MediaLimits
) -> tuple[tuple[int, ...], int]:
    """Times of all frames and of the end, in ticks, without decoding."""
    ends: dict[int, int] = {}
    for number, packet in enumerate(container.demux(stream)):
        if number > _MOST_PACKETS * limits.frames:  # all of them are decoded, shown or not
            limits.check_length(path, number, 0)
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or packet.is_discard:
            continue
        if packet.is_corrupt:
            raise refusal(path, f"its data is cut off after frame {len(ends)}", _REPAIR)
        ends[time] = time + (packet.duration or 0)
        if len(ends) > limits.frames:
            break
    starts = tuple(sorted(ends))
    if container.format.name == "gif" and stream.frames:
        # Its demuxer reads a comment after the last frame as one more frame.
        starts = starts[: stream.frames]
    if not starts:
        raise refusal(path, "it has no frames", _REPAIR)
    end = ends[starts[-1]]
    if end - starts[-1] <= 1 and len(starts) > 1:
        # Recorders omit the last duration or write one tick: take that of the frame before.
        end = starts[-1] + starts[-1] - starts[-2]
    return starts, end


def _decode(path: Path, stream: Any, limits: MediaLimits) -> Iterator[Any]:
    decoder = _alpha_decoder(stream) or stream.codec_context
    decoder.options = {"max_pixels": str(limits.pixels)}
    packets = stream.container.demux(stream)
    frames = (frame for packet in packets for frame in decoder.decode(packet))
    for number, frame in enumerate(frames):
        if frame.is_corrupt:
            raise refusal(path, f"frame {number} is damaged", _REPAIR)
        yield frame


def _progressive(frames: Iterator[Any], tick: Fraction) -> Iterator[Any]:
    """Deinterlace from the first interlaced frame on; progressive frames stay as they are."""
    for frame in frames:
        if frame.interlaced_frame:
            yield from _deinterlaced(frame, frames, tick)
        else:
            yield frame


def _deinterlaced(first: Any, rest: Iterator[Any], tick: Fraction) -> Iterator[Any]:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=first.width, height=first.height, format=first.format, time_base=tick
    )
    filters = graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")
    graph.link_nodes(source, *filters).configure()
    for frame in chain([first], rest):
        if (frame.width, frame.height) != (first.width, first.height):
            yield frame  # refused by the caller
        graph.vpush(frame)
        yield from _pulled(graph, tick)
    graph.vpush(None)
    yield from _pulled(graph, tick)


def _pulled(graph: Any, tick: Fraction) -> Iterator[Any]:
    """Frames that a filter graph has ready, with their times in ticks."""
    while True:
        try:
            frame = graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return
        if frame.pts is not None:
            frame.pts = round(frame.pts * frame.time_base / tick)
        yield frame


def _alpha_decoder(stream: Any) -> Any:
    """A decoder for the transparency of a stream, where the default one ignores it."""
    notes = {key.lower(): value for key, value in stream.metadata.items()}
    library = _WITH_ALPHA.get(stream.codec_context.codec.canonical_name)
    if library is None or notes.get("alpha_mode") != "1":
        return None
    try:
        return av.CodecContext.create(library, "r")
    except av.codec.codec.UnknownCodecError:  # FFmpeg built without it: on black
        return None


def _turn(frame: Any, codec: str) -> tuple[int, int, int, int]:
    """Upper left of the display matrix in whole numbers; no turn if it is not orthogonal."""
    cells = _display_matrix(frame, codec)
    a, b, c, d = (round(float(np.sign(cell))) if abs(cell) > 0.5 else 0 for cell in cells)  # noqa: PLR2004
    return (a, b, c, d) if abs(a * d - b * c) == 1 else (1, 0, 0, 1)


def _display_matrix(frame: Any, codec: str) -> Sequence[float]:
    # PyAV 18 frees the profile of a PNG frame twice, and does not know all side data.
    if codec not in _UNSAFE_SIDE_DATA:
        with suppress(ValueError):
            matrices = (data for data in frame.side_data if data.type.name == "DISPLAYMATRIX")
            found = next(matrices, None)
            if found is None:
                return (1, 0, 0, 1)
            return [
                float(cell) / _UNIT for cell in np.frombuffer(bytes(found), np.int32)[[0, 1, 3, 4]]
            ]
    angle = math.radians(-frame.rotation)
    return (math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle))


def _notes(file: CheckedFile, limits: MediaLimits) -> Mapping[Any, Any]:
    """Color notes of an animated PNG, of which FFmpeg gives only a part."""
    if file.kind != ANIMATED_PNG:
        return {}
    with opened(file.path, limits) as image:
        return image.info


def _shots(
    file: CheckedFile, limits: MediaLimits, geometry: _Geometry, starts: tuple[int, ...]
) -> Iterator[Shot]:
    """Decode all frames; their conversion to RGB waits until they are loaded."""
    path = file.path
    with open_container(file, limits) as container:
        stream = _video_stream(path, container)
        size, start, tick = None, None, stream.time_base
        for number, frame in enumerate(_progressive(_decode(path, stream, limits), tick)):
            if size not in (None, (frame.width, frame.height)):
                problem = f"frame {number} is {frame.width}x{frame.height}, the first {size}"
                raise refusal(path, problem, "All frames must have one size: export it again.")
            size = (frame.width, frame.height)
            # AVI has no presentation times and those made up for reordered frames are wrong.
            in_order = frame.pts is None or file.kind == AVI
            start = starts[min(number, len(starts) - 1)] if in_order else frame.pts
            yield Shot(start, partial(_to_rgb, file, frame, geometry))
        if start is None or start < starts[-_TAIL:][0]:
            raise refusal(path, "its last frames cannot be decoded", _REPAIR)


def _to_rgb(file: CheckedFile, frame: Any, geometry: _Geometry) -> RGB:
    """Displayed pixels of a decoded frame; transparency is laid on white."""
    with _decoding(file):
        pixels = _colors(file, frame, geometry.notes)
    pixels = resize(pixels, (geometry.height, geometry.width), "stretch")
    a, b, c, d = geometry.turn
    # The matrix sends (x, y) to (a x + c y, b x + d y); rows are y and columns are x.
    if a == 0:
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    return pixels[:: d or 1, :: a or 1]


def _colors(file: CheckedFile, frame: Any, notes: Mapping[Any, Any]) -> RGB:
    """A frame as sRGB, by its matrix, range, transfer, primaries and profile."""
    if not frame.format.is_rgb:
        frame.colorspace = _matrix(file, frame)
    transfer, primaries = frame.color_trc, frame.color_primaries
    plain = are_plain(transfer, primaries)
    # Planes: FFmpeg's scaler (libswscale 9.5) packs 16 bits wrongly.
    formats = ("rgb24", "rgba") if plain else ("gbrp16le", "gbrap16le")
    has_alpha = any(component.is_alpha for component in frame.format.components)
    pixels = frame.to_ndarray(format=formats[has_alpha], interpolation=SCALER)
    shown, alpha = pixels[..., :3], pixels[..., 3:]
    if not plain:
        shown, alpha = to_srgb(shown, transfer, primaries), (alpha >> 8).astype(np.uint8)
    elif notes:
        image = Image.fromarray(np.ascontiguousarray(shown))
        shown = np.asarray(managed(image, notes, file.path.name))
    return on_white(np.concatenate([shown, alpha], axis=-1)) if has_alpha else shown


def _matrix(file: CheckedFile, frame: Any) -> int:
    """The H.273 number of a frame's matrix; by default it follows from the size."""
    if frame.colorspace in _MATRICES:
        return int(frame.colorspace)
    if frame.colorspace not in _UNSPECIFIED:
        problem = f"its colors are coded by matrix {frame.colorspace} of ITU-T H.273"
        fix = "Convert it: ffmpeg -i INPUT -c:v libx264 -pix_fmt yuv420p fixed.mp4"
        raise refusal(file.path, problem, fix)
    is_high = frame.width >= _HD_WIDTH or frame.height > _SD_HEIGHT
    return _BT709 if is_high else _BT601
