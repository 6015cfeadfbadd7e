"""Style: the whole picture is drawn anew."""

from __future__ import annotations

import numpy as np

from vap.data.synth.curves import ease
from vap.data.synth.scene import Image, Scene
from vap.data.synth.schema import Catalogue, Choice

STYLE = Catalogue("style")


@STYLE.effect("turns into a photographic negative", order=Choice(("plain", "swapped")))
def invert(scene: Scene, t: float, *, order: str) -> Image:
    """Light becomes dark, and every colour its opposite."""
    negative = 1 - scene.image
    if order == "swapped":
        negative = negative[..., ::-1]
    return scene.image + (negative - scene.image) * np.float32(ease(t))


@STYLE.effect("turns into an old sepia photograph")
def sepia(scene: Scene, t: float) -> Image:
    """Brown and white."""
    grey = scene.image.mean(axis=2, keepdims=True)
    brown = np.array([0.25, 0.14, 0.06], np.float32)
    cream = np.array([1.0, 0.91, 0.74], np.float32)
    aged = brown + (cream - brown) * grey
    return scene.image + (aged - scene.image) * np.float32(ease(t))
