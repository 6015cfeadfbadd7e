"""Encode GIF: one palette made from all frames, delays that keep the true speed.

FFmpeg encodes; only the comment is inserted by hand, because FFmpeg's GIF writer has none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vap.media import structure
from vap.media.stills import Frames

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
    at = structure.gif_header_bytes(whole)
    path.write_bytes(whole[:at] + b"!\xfe" + chain + b"\x00" + whole[at:])
