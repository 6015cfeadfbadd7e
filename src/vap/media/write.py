"""Writing of videos: MP4 (H.264), WebM (VP9), GIF, or a folder of PNG frames.

FFmpeg encodes, with exact times and tagged colors, the same bytes twice. Only the comment of a GIF
is inserted by hand, because FFmpeg's GIF writer has none.
"""

from __future__ import annotations

import logging
import os
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import av
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vap.files.atomic import atomic_file, atomic_folder, check_replaceable
from vap.files.errors import refusal
from vap.media.files import gif_header_bytes
from vap.media.images import RATE_KEY, Frames, FrameStack, as_frames
from vap.media.records import COMMENT, dump_metadata
from vap.media.timing import exact_rate
from vap.media.video import SCALER

if TYPE_CHECKING:
    import torch

Quality = Literal["high", "balanced", "small"]

_BT709 = 1  # the same number for primaries, transfer and matrix, in FFmpeg and in ITU-T H.273
_LIMITED_RANGE = 1
# x264's AVX-512 code makes slightly different bytes from run to run (seen with build 165), its
# older instruction sets do not. SSE 4.2 is there wherever NumPy runs, and a fifth slower.
_X264_STABLE = {"x86_64": "asm=sse4.2", "AMD64": "asm=sse4.2"}


@dataclass(frozen=True, slots=True)
class _Format:
    """How one container is written."""

    codec: str
    crf: Mapping[Quality, int]
    options: Mapping[str, str]  # the number of threads is fixed: it changes the bytes
    muxer: Mapping[str, str]
    even: bool  # whether height and width must be


FORMATS: Mapping[str, _Format] = {
    ".mp4": _Format(
        codec="libx264",
        crf={"high": 16, "balanced": 21, "small": 27},
        options={
            "preset": "medium",
            "profile": "high",
            "threads": "4",
            "x264-params": _X264_STABLE.get(platform.machine(), ""),
        },
        muxer={"movflags": "+faststart"},  # the index first: plays while it downloads
        even=True,  # chroma is stored at half size
    ),
    ".webm": _Format(
        codec="libvpx-vp9",
        crf={"high": 18, "balanced": 28, "small": 38},
        options={"b": "0", "deadline": "good", "cpu-used": "3", "row-mt": "1", "threads": "4"},
        muxer={},
        even=False,
    ),
}


def encode(
    path: Path, frames: Frames, rate: Fraction, comment: str | None, quality: Quality
) -> None:
    """Write frames as a video in the container of ``FORMATS`` that the suffix names.

    For MP4, an odd height or width grows by repeating its last line.
    """
    form = FORMATS[path.suffix.lower()]
    # bitexact: no creation time, no library versions, no random identifiers.
    options = {**form.muxer, "fflags": "+bitexact"}
    with av.open(str(path), "w", container_options=options) as container:
        if comment is not None:
            container.metadata[COMMENT] = comment
        codec_options = {**form.options, "crf": str(form.crf[quality]), "flags": "+bitexact"}
        stream = container.add_stream(form.codec, rate=rate, options=codec_options)
        stream.width = frames.width + (frames.width % 2 if form.even else 0)
        stream.height = frames.height + (frames.height % 2 if form.even else 0)
        stream.pix_fmt = "yuv420p"
        stream.time_base = 1 / rate
        _tag_colors(stream.codec_context)
        for index, pixels in enumerate(frames):
            container.mux(stream.encode(_frame(pixels, stream, index, 1 / rate)))
        container.mux(stream.encode())


def _tag_colors(target: Any) -> None:
    target.color_primaries = target.color_trc = target.colorspace = _BT709
    target.color_range = _LIMITED_RANGE


def _frame(
    pixels: np.ndarray[Any, np.dtype[np.uint8]], stream: Any, index: int, tick: Fraction
) -> Any:
    """Convert RGB [H, W, 3] to a BT.709 frame of the stream."""
    height, width = pixels.shape[:2]
    extra = ((0, stream.height - height), (0, stream.width - width), (0, 0))
    padded = np.pad(pixels, extra, mode="edge") if any(after for _, after in extra) else pixels
    frame = av.VideoFrame.from_ndarray(padded, format="rgb24").reformat(
        format="yuv420p",
        dst_colorspace=_BT709,
        dst_color_range=_LIMITED_RANGE,
        interpolation=SCALER,
    )
    _tag_colors(frame)
    frame.pts = index
    # Not the stream's time base: the muxer changes that once it has written its header.
    frame.time_base = tick
    return frame


logger = logging.getLogger(__name__)

_TICK = Fraction(1, 100)  # GIF counts in hundredths of a second
_FASTEST = Fraction(50)  # browsers slow delays below 2/100 s down to 10/100 s
_MOST_DELAY = 0xFFFF


def encode_gif(
    path: Path, frames: Frames, rate: Fraction, comment: str | None, *, name: str
) -> None:
    """Write frames as an endlessly looping GIF; ``name`` is the file's in the warning.

    Delays are whole hundredths of a second, alternating so that the sum keeps the rate. A rate
    above 50 is written as 50, with a warning: browsers slow faster files down to 10.
    """
    if rate > _FASTEST:
        logger.warning("GIF plays at most %s fps, not %.4g: %s", _FASTEST, float(rate), name)
    rate = min(rate, _FASTEST)
    ticks = [round(index / rate / _TICK) for index in range(frames.count + 1)]
    palette = _palette(frames)
    last_delay = min(ticks[-1] - ticks[-2], _MOST_DELAY)
    options = {"fflags": "+bitexact", "loop": "0", "final_delay": str(last_delay)}
    with av.open(str(path), "w", format="gif", container_options=options) as container:
        stream = container.add_stream("gif", rate=rate, options={"flags": "+bitexact"})
        stream.width, stream.height, stream.pix_fmt = frames.width, frames.height, "pal8"
        stream.codec_context.time_base = _TICK
        for frame, tick in zip(_dithered(frames, palette), ticks, strict=False):
            frame.pts, frame.time_base = tick, _TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if comment is not None:
        _insert_comment(path, comment.encode("ascii"))


def _palette(frames: Frames) -> Any:
    """The 256 colors that fit all frames best, as a frame of 16x16 pixels."""
    graph = av.filter.Graph()
    source = _buffer(graph, frames.width, frames.height, "rgb24")
    maker = graph.add("palettegen", "reserve_transparent=0:stats_mode=full")
    graph.link_nodes(source, maker, graph.add("buffersink")).configure()
    for pixels in frames:
        source.push(av.VideoFrame.from_ndarray(pixels, format="rgb24"))
    source.push(None)
    return graph.vpull()


def _dithered(frames: Frames, palette: Any) -> Iterator[Any]:
    """Map frames to the palette; still regions keep their dithering, so they do not flicker."""
    graph = av.filter.Graph()
    source = _buffer(graph, frames.width, frames.height, "rgb24")
    colors = _buffer(graph, palette.width, palette.height, palette.format.name)
    mapper = graph.add("paletteuse", "dither=sierra2_4a:diff_mode=rectangle")
    source.link_to(mapper, 0, 0)
    colors.link_to(mapper, 0, 1)
    mapper.link_to(graph.add("buffersink"))
    graph.configure()
    colors.push(palette)
    colors.push(None)
    for index, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = index, _TICK
        source.push(frame)
        yield graph.vpull()


def _buffer(graph: Any, width: int, height: int, pixel_format: str) -> Any:
    form = av.VideoFormat(pixel_format)
    return graph.add_buffer(width=width, height=height, format=form, time_base=_TICK)


def _insert_comment(path: Path, text: bytes) -> None:
    """Insert a comment before the first frame; FFmpeg reads one after the last as a frame."""
    blocks = (text[start : start + 255] for start in range(0, len(text), 255))
    chain = b"".join(bytes([len(block)]) + block for block in blocks)
    whole = path.read_bytes()
    at = gif_header_bytes(whole)
    path.write_bytes(whole[:at] + b"!\xfe" + chain + b"\x00" + whole[at:])


_FRAME_NAME = "frame_{:05d}.png"
_FRAME_PATTERN = re.compile(r"frame_\d{5,}\.png")
_PNG_LEVEL = 4  # half the time of Pillow's level 6 for 2 % more bytes
_SUFFIXES = (*FORMATS, ".gif")


def write_video(
    frames: FrameStack | torch.Tensor,
    path: str | Path,
    fps: float | Fraction = 16.0,
    *,
    metadata: Mapping[str, Any] | None = None,
    quality: Quality = "high",
) -> Path:
    """Write frames as a video; the file appears whole or not at all.

    The suffix decides: ``.mp4`` is H.264 (4:2:0, BT.709, index first) for every browser and phone,
    where an odd height or width grows by one repeated line; ``.webm`` is VP9; ``.gif`` loops and
    plays at most 50 frames per second. An existing folder, a name that ends with a slash or has no
    suffix becomes a folder of lossless ``frame_00000.png``, ... The number of frames is kept
    exactly, and so is the rate (to GIF's 1/100 s). The same frames and metadata make the same
    bytes.

    Args:
        frames: Images, an array or a tensor, such as a pipeline's ``frames``: [T, H, W, 3] or
            [T, 3, H, W], uint8 or floating point in 0..1.
        path: Where to write; missing folders are made, an existing file is replaced.
        fps: Frames per second; 23.976 and its like mean the exact NTSC rates.
        metadata: A JSON object to embed (comment of the container, text of the first PNG).
        quality: ``"high"`` is visually lossless, ``"small"`` is for messages. Ignored by GIF and
            PNG.

    Returns:
        The path written.

    Raises:
        MediaError: If the frames or the path cannot be written.
        ValueError: If ``fps``, ``metadata`` or ``quality`` is not valid.
    """
    rate, comment, stack = exact_rate(fps), dump_metadata(metadata), as_frames(frames)
    if quality not in get_args(Quality):
        raise ValueError(f"Unknown quality {quality!r}. Use one of {get_args(Quality)}.")
    if stack.count == 0:
        raise refusal(stack.name, "it has no frames", "Give at least one frame.")
    target = Path(path)
    suffix = target.suffix.lower()
    if target.is_dir() or str(path).endswith(("/", os.sep)) or not suffix:
        _write_folder(target, stack, rate, comment)
        return target
    if suffix not in _SUFFIXES:
        fix = f"Use one of {', '.join(_SUFFIXES)}, or a name without suffix for a folder of PNG."
        raise refusal(target, f"the video format {suffix!r} is not supported", fix)
    with atomic_file(target) as temporary:
        try:
            if suffix == ".gif":
                encode_gif(temporary, stack, rate, comment, name=target.name)
            else:
                encode(temporary, stack, rate, comment, quality)
        except av.FFmpegError as error:
            problem = f"{stack.width}x{stack.height} cannot be encoded ({error.strerror})"
            raise refusal(target, problem, "Check the size of the frames and the space.") from error
    return target


def check_frames_folder(path: str | Path) -> None:
    """Refuse a folder that ``write_video`` cannot write frames to, as it has other files."""
    check_replaceable(Path(path), _is_frame)


def _is_frame(path: Path) -> bool:
    return _FRAME_PATTERN.fullmatch(path.name) is not None


def _write_folder(path: Path, frames: Frames, rate: Fraction, comment: str | None) -> None:
    notes = PngInfo()
    notes.add_text(RATE_KEY, str(rate))
    if comment is not None:
        notes.add_text(COMMENT, comment)
    with atomic_folder(path, _is_frame) as temporary:
        for index, pixels in enumerate(frames):
            place = temporary / _FRAME_NAME.format(index)
            info = notes if index == 0 else None
            Image.fromarray(pixels).save(place, pnginfo=info, compress_level=_PNG_LEVEL)
