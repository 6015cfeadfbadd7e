"""Random crops of public-domain photographs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vap.synth.fields import generator
from vap.synth.opencv import cv2
from vap.synth.photos import photo
from vap.synth.scene import Image


@dataclass(frozen=True, slots=True)
class Backdrop:
    """A photograph that is cropped at random."""

    file: str  # in the data folder of scikit-image
    smallest: float  # smallest side of a crop, as a share of the largest possible
    tinted: bool = False  # takes the background's color

    def draw(
        self, height: int, width: int, seed: int, colour: Image, accent: Image
    ) -> tuple[Image, Image]:
        """A crop ``[H, W, 3]`` and its nearness ``[H, W]``."""
        del accent  # a photograph has its own second color
        rng = generator(41, seed)
        source = photo(self.file)
        rows, columns = source.shape[:2]
        share = min(rows / height, columns / width) * rng.uniform(self.smallest, 1)
        tall, wide = max(2, int(share * height)), max(2, int(share * width))
        top = int(rng.integers(rows - tall + 1))
        left = int(rng.integers(columns - wide + 1))
        crop = source[top : top + tall, left : left + wide]
        lib = cv2()
        method = lib.INTER_AREA if tall > height else lib.INTER_LINEAR
        picture: Image = lib.resize(crop, (width, height), interpolation=method)
        if rng.integers(2):
            picture = picture[:, ::-1]
        if self.tinted:
            picture = picture.mean(axis=2, keepdims=True) * (0.35 + 0.9 * colour)
        return picture, np.full((height, width), 0.5, np.float32)


PHOTOGRAPHS = {
    "brick wall": ("in front of a {colour} brick wall", Backdrop("brick.png", 0.4, True)),
    "lawn": ("on a {colour} lawn", Backdrop("grass.png", 0.4, True)),
    "gravel": ("on {colour} gravel", Backdrop("gravel.png", 0.4, True)),
    "coffee table": ("on a coffee table", Backdrop("coffee.png", 0.3)),
    "fur": ("in front of a cat's fur", Backdrop("chelsea.png", 0.4)),
    "tissue": ("in front of a microscope slide", Backdrop("ihc.png", 0.4)),
    "galaxies": ("among distant galaxies", Backdrop("hubble_deep_field.jpg", 0.3)),
    "launch pad": ("at a launch pad at dusk", Backdrop("rocket.jpg", 0.4)),
    "park": ("in a {colour} park", Backdrop("camera.png", 0.4, True)),
}
