"""Clips as a video autoencoder returns them: softer, with faint blotches.

A classifier trained on sharp clips alone takes softness for an effect, so it is shown both.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_COARSEST = 0.35  # the share of the resolution that the softest clips keep
_BLOTCH = 4  # pixels a side
_STRONGEST = 0.05  # standard deviation of the strongest blotches


def soften(video: Tensor, generator: torch.Generator) -> Tensor:
    """Blur clips ``[B, 3, T, H, W]`` in 0 to 1 and add blotches, each by a random amount."""
    return torch.stack([_softened(clip, generator) for clip in video])


def soften_half(video: Tensor, generator: torch.Generator) -> Tensor:
    """Soften each clip with a chance of one half."""
    chosen = torch.rand(len(video), generator=generator) < 0.5  # noqa: PLR2004 - one half
    softened = video.clone()
    softened[chosen] = soften(video[chosen], generator) if chosen.any() else video[chosen]
    return softened


def _softened(clip: Tensor, generator: torch.Generator) -> Tensor:
    """One clip ``[3, T, H, W]``."""
    frames = clip.transpose(0, 1)
    height, width = frames.shape[2:]
    detail, blotches = torch.rand(2, generator=generator).tolist()
    share = _COARSEST + (1 - _COARSEST) * detail
    small = F.interpolate(
        frames, (round(height * share), round(width * share)), mode="bilinear", antialias=True
    )
    soft = F.interpolate(small, (height, width), mode="bicubic")
    grid = (len(frames), 3, height // _BLOTCH, width // _BLOTCH)
    noise = torch.randn(grid, generator=generator) * (blotches * _STRONGEST)
    soft = soft + F.interpolate(noise, (height, width), mode="bicubic")
    return soft.clamp(0, 1).transpose(0, 1)
