"""What networks that predict frames share: resizing and backward warping."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def resized(x: Tensor, factor: float) -> Tensor:
    """Resize ``[B, C, H, W]`` by a factor, bilinearly."""
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def warped(image: Tensor, flow: Tensor) -> Tensor:
    """Read ``[B, C, H, W]`` at each pixel plus its flow ``[B, 2, H, W]``; the border goes on."""
    height, width = image.shape[-2:]
    y = torch.arange(height, device=image.device)[:, None] + flow[:, 1]
    x = torch.arange(width, device=image.device) + flow[:, 0]
    return read_at(image, x, y, outside="border")


def read_at(image: Tensor, x: Tensor, y: Tensor, *, outside: str) -> Tensor:
    """Read ``[B, C, H, W]`` at pixels ``[B, I, J]``: ``[B, C, I, J]``.

    Args:
        image: What is read.
        x: To the right, in pixels.
        y: Down, in pixels.
        outside: ``border`` or ``zeros``.
    """
    height, width = image.shape[-2:]
    grid = torch.stack([2 * x / max(1, width - 1) - 1, 2 * y / max(1, height - 1) - 1], dim=-1)
    return F.grid_sample(image, grid, padding_mode=outside, align_corners=True)
