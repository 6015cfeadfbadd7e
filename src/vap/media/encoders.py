"""Encoding of MP4 (H.264) and WebM (VP9): exact times, tagged colors, the same bytes twice."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from vap.media.metadata import COMMENT
from vap.media.stills import Frames
from vap.media.video import SCALER

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
