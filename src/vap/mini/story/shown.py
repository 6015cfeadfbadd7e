"""What the panels are made of: references of conditions, and pictures to animate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vap.evaluation.benchmarks.synth import check_conditions
from vap.media import read_image
from vap.media.pixels import resize, to_uint8
from vap.shapes import PixelShape
from vap.synth import CONDITIONS, ClipSpec
from vap.synth.clip_spec import quantized
from vap.synth.composition import compose
from vap.synth.fields import generator
from vap.synth.photos import photo

CONDITIONS_SHOWN = (
    *("underwater", "turn_to_gold", "spin", "zoom_in", "pencil_sketch"),
    *("invert", "shrink", "somersault", "zoom_out", "cross_stitch"),
)
"""Shown by default: half that the expert trained on, half that it did not."""

_PHOTOGRAPHS = (
    ("astronaut.png", "an astronaut in front of a flag"),
    ("chelsea.png", "a tabby cat"),
    ("coffee.png", "a cup of coffee on a coffee table"),
    ("rocket.jpg", "a rocket at a launch pad at dusk"),
)
_NOTES = {"train": "", "heldout": "new to the expert", "unknown": "new to the whole model"}


@dataclass(frozen=True, eq=False, slots=True)
class Reference:
    """A clip that shows a condition."""

    condition: str  # its name
    frames: NDArray[np.uint8]  # ``uint8`` ``[T, H, W, 3]``
    caption: str  # its scene in words, without the effect

    @property
    def label(self) -> str:
        """The effect in words."""
        return CONDITIONS[self.condition].phrase

    @property
    def note(self) -> str:
        """What of the model was not trained on the condition."""
        return _NOTES[CONDITIONS[self.condition].exposure]


@dataclass(frozen=True, eq=False, slots=True)
class Picture:
    """An image to animate, ``uint8`` ``[H, W, 3]``, and what it shows in words."""

    pixels: NDArray[np.uint8]
    caption: str


def references_of(conditions: Sequence[str], shape: PixelShape, seed: int) -> list[Reference]:
    """A clip of each condition, on subjects that training never shows."""
    check_conditions(conditions)
    references = []
    for name in conditions:
        # The seed depends on the name: a reference looks the same whatever others there are.
        rng = generator(seed, list(CONDITIONS).index(name), 71)
        parameters = CONDITIONS[name].draw(rng)
        spec = ClipSpec(name, parameters, compose(rng, unseen=True))
        clip = spec.render(shape.height, shape.width, shape.frames)
        references.append(Reference(name, clip.frames, clip.scene_caption))
    return references


def pictures_of(files: Sequence[Path], count: int, shape: PixelShape, seed: int) -> list[Picture]:
    """Photographs of the user, then public ones, then drawn scenes of unseen subjects."""
    if len(files) > count:
        raise ValueError(f"A story has {count} pictures; {len(files)} photographs are too many.")
    photographs = [(np.asarray(read_image(file)), "") for file in files]
    photographs += [(to_uint8(name, photo(name)), caption) for name, caption in _PHOTOGRAPHS]
    size = (shape.height, shape.width)
    pictures = [
        Picture(resize(pixels, size, "cover"), caption) for pixels, caption in photographs[:count]
    ]
    for index in range(count - len(pictures)):
        composition = compose(generator(seed, index, 72), unseen=True)
        scene = composition.render(shape.height, shape.width)
        pictures.append(Picture(quantized(scene.image), composition.caption))
    return pictures
