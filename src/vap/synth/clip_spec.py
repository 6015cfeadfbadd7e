"""Clips: a condition with its parameters, played on a composition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from vap.synth.composition import Composition
from vap.synth.condition import Category, Value
from vap.synth.registry import CONDITIONS
from vap.synth.variations import Variation

SMALLEST_SIDE = 16
FEWEST_FRAMES = 2
MOST_EXTREME = 4  # times the shorter side: the longest that the other may be

_CAPTIONS: Mapping[Category, str] = {
    "concept": "{scene}; it {phrase}",
    "style": "{scene}; the picture {phrase}",
    "motion": "{scene}; it {phrase}",
    "camera": "{scene}, {phrase}",
}


@dataclass(frozen=True)
class SynthClip:
    """A rendered clip."""

    frames: NDArray[np.uint8]  # ``uint8`` RGB ``[T, H, W, 3]``; the first is the untouched picture
    caption: str  # the scene, and in some samples the effect, in words
    scene_caption: str
    condition: str
    parameters: Mapping[str, Value]  # the condition's parameters, timing included
    composition: Composition


@dataclass(frozen=True)
class ClipSpec:
    """All there is to say about a clip before it has a size."""

    condition: str
    parameters: Mapping[str, Value]  # a value for each of its parameters
    composition: Composition
    tells_effect: bool = False  # whether the caption says what happens
    variation: Variation | None = None  # how the clip departs from the condition, if it does

    @property
    def caption(self) -> str:
        """The scene, and the effect if this clip tells it."""
        scene = self.composition.caption
        if not self.tells_effect:
            return scene
        condition = CONDITIONS[self.condition]
        caption = _CAPTIONS[condition.category].format(scene=scene, phrase=condition.phrase)
        return ", ".join((caption, *(self.variation.phrases if self.variation else ())))

    def render(self, height: int = 64, width: int = 96, frames: int = 17) -> SynthClip:
        """Draw the clip; the size changes the sharpness only, not what happens.

        Args:
            height: In pixels, ≥ 16.
            width: In pixels, ≥ 16.
            frames: How many, ≥ 2.
        """
        if min(height, width) < SMALLEST_SIDE or frames < FEWEST_FRAMES:
            raise ValueError(
                f"A clip of {frames} frames of {height}x{width} cannot show an effect; use at "
                f"least {FEWEST_FRAMES} frames of {SMALLEST_SIDE}x{SMALLEST_SIDE}."
            )
        if max(height, width) > MOST_EXTREME * min(height, width):
            raise ValueError(
                f"A frame of {height}x{width} is too long and narrow; one side may be at most "
                f"{MOST_EXTREME} times the other."
            )
        condition = CONDITIONS[self.condition]
        play = partial(self.variation.frame, condition) if self.variation else condition.frame
        scene = self.composition.render(height, width)
        pixels = np.empty((frames, height, width, 3), np.uint8)
        pixels[0] = quantized(scene.image)
        for number in range(1, frames):
            time = number / (frames - 1)
            pixels[number] = quantized(play(scene, time, self.parameters))
        return SynthClip(
            frames=pixels,
            caption=self.caption,
            scene_caption=self.composition.caption,
            condition=self.condition,
            parameters=self.parameters,
            composition=self.composition,
        )


def quantized(picture: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Floats in 0 to 1 as bytes; values outside are clipped."""
    return np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)
