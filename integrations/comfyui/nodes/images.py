"""ComfyUI's images and videos as those of vap, and back."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comfy_api.v0_0_2 import Input, InputImpl, Types


def frames_of(images: torch.Tensor) -> np.ndarray:
    """Return an IMAGE ``[T, H, W, C]`` in 0 … 1 as uint8 ``[T, H, W, 3]``."""
    return (images[..., :3].cpu() * 255).round().clamp(0, 255).to(torch.uint8).numpy()


def first_frame(images: torch.Tensor) -> np.ndarray:
    """Return the first picture of an IMAGE as uint8 ``[H, W, 3]``."""
    return frames_of(images[:1])[0]


def clip_of(video: Input.Video | torch.Tensor) -> Path | np.ndarray:
    """Return a VIDEO or an IMAGE as vap reads it: a whole file as its path, else frames."""
    if isinstance(video, torch.Tensor):
        return frames_of(video)
    if isinstance(video, InputImpl.VideoFromFile):
        source = video.get_stream_source()
        # A part of a file has its own duration.
        whole = InputImpl.VideoFromFile(source).get_duration()
        if isinstance(source, str) and whole == video.get_duration():
            return Path(source)
    return frames_of(video.get_components().images)


def images_of(video: np.ndarray) -> torch.Tensor:
    """Return frames in 0 … 1 as an IMAGE of the 8-bit values that vap writes."""
    return torch.from_numpy((video * 255).round().astype(np.uint8)) / 255


def video_of(images: torch.Tensor, fps: float) -> Any:
    """Return an IMAGE as a VIDEO."""
    parts = Types.VideoComponents(images=images, frame_rate=Fraction(fps))
    return InputImpl.VideoFromComponents(parts)
