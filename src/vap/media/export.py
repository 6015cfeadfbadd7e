"""Write a video with diffusers' order of arguments."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from vap.media import Quality
from vap.media import write_video as _write

if TYPE_CHECKING:
    import torch

    from vap.media.stills import FrameStack


def write_video(
    frames: FrameStack | torch.Tensor,
    path: str | Path,
    fps: float | Fraction = 16.0,
    *,
    quality: Quality = "high",
) -> Path:
    """Write one video of a pipeline's ``frames``, as MP4, WebM, GIF or a folder of PNG.

    Args:
        frames: Images, an array or a tensor: [T, H, W, 3] or [T, 3, H, W], uint8 or floating
            point in 0..1.
        path: Where to write; its suffix decides the format. An existing file is replaced.
        fps: Frames per second.
        quality: ``"high"`` is visually lossless, ``"small"`` is for messages.

    Returns:
        The path written.

    Raises:
        MediaError: If the frames or the path cannot be written.
        ValueError: If ``fps`` or ``quality`` is not valid.
    """
    return _write(path, frames, fps, quality=quality)
