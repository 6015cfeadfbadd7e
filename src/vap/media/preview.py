"""Small copies of media that a page contains as data URLs."""

from __future__ import annotations

import base64
import io
import tempfile
from pathlib import Path

from vap.media.clip import probe_clip, read_clip, select_frames
from vap.media.images import read_image
from vap.media.write import write_video

_SIDE, _FRAMES = 240, 24
"""Longest side, and most frames of a video."""


def data_url(content: bytes, media_type: str) -> str:
    """Return a file's content as a URL."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def small_video(path: Path) -> str:
    """Return a silent copy of a video as a data URL: frames from all of it, at its own speed.

    Raises:
        MediaError: If it cannot be read.
    """
    info = probe_clip(path)
    scale = min(1.0, _SIDE / max(info.height, info.width))
    clip = read_clip(
        path,
        size=(max(2, round(info.height * scale)), max(2, round(info.width * scale))),
        frame_indices=lambda count: select_frames(count, min(count, _FRAMES)),
    )
    fps = max(1.0, clip.fps * len(clip.frames) / info.frames)
    with tempfile.TemporaryDirectory() as folder:
        small = write_video(clip.frames, Path(folder) / "small.mp4", fps, quality="small")
        return data_url(small.read_bytes(), "video/mp4")


def small_image(path: Path) -> str:
    """Return a copy of an image as a data URL."""
    image = read_image(path)
    image.thumbnail((_SIDE, _SIDE))
    content = io.BytesIO()
    image.save(content, "PNG")
    return data_url(content.getvalue(), "image/png")
