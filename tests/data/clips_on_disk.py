"""Small moving clips that the tests of this folder write."""

from __future__ import annotations

import numpy as np
from PIL import Image

from vap.data.clip_files import FoundClip, InspectedClip, inspect_clips, no_progress
from vap.media import write_video


def made_clip(path, *, seed=0, speed=2, size=64, quality="high"):
    """Blurred noise that slides sideways: ``seed`` is what it shows, ``speed`` what it does."""
    noise = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    picture = np.asarray(Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC))
    frames = np.stack([np.roll(picture, speed * t, axis=1) for t in range(9)])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(frames, path, 16, quality=quality)
    return path


def inspected(path, condition="melt") -> InspectedClip:
    found = (FoundClip(path, path.name, condition),)
    [clip] = inspect_clips(found, workers=1, progress=no_progress)
    assert isinstance(clip, InspectedClip)
    return clip
