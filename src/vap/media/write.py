"""Writing of videos: MP4, WebM, GIF, or a folder of PNG frames."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import av
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vap.files.atomic import atomic_file, atomic_folder, check_replaceable
from vap.files.errors import refusal
from vap.media.encoders import FORMATS, Quality, encode
from vap.media.gif import encode_gif
from vap.media.metadata import COMMENT, dump_metadata
from vap.media.stills import RATE_KEY, Frames, FrameStack, as_frames
from vap.media.timing import exact_rate

if TYPE_CHECKING:
    import torch

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
        raise refusal(target, f"videos are not written as {suffix!r}", fix)
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
    """Refuse a folder that :func:`write_video` cannot write frames to, as it has other files."""
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
