"""Compositions: what is in a scene and where, drawn once, rendered at any size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vap.data.synth.backgrounds import BACKGROUNDS, UNSEEN_BACKGROUNDS
from vap.data.synth.palette import COLOURS, rgb
from vap.data.synth.pen import Pen
from vap.data.synth.scene import Layer, Scene
from vap.data.synth.subjects import SUBJECTS, UNSEEN_SUBJECTS


@dataclass(frozen=True, slots=True)
class Composition:
    """A scene in words and numbers, independent of the resolution.

    Attributes:
        subject: Name of the subject.
        subject_colour: Name of its main colour.
        background: Name of the background.
        background_colour: Name of its main colour.
        background_seed: Which one of its kind.
        x: Middle of the subject, share of the width.
        y: Middle of the subject, share of the height.
        size: Side of the subject's square, share of the height.
        flipped: Whether the subject is mirrored.
    """

    subject: str
    subject_colour: str
    background: str
    background_colour: str
    background_seed: int
    x: float
    y: float
    size: float
    flipped: bool

    @property
    def caption(self) -> str:
        """Subject and place in words."""
        article = "an" if self.subject_colour[0] in "aeiou" else "a"
        place = BACKGROUNDS[self.background][0].format(colour=self.background_colour)
        return f"{article} {self.subject_colour} {self.subject} {place}"

    def render(self, height: int, width: int) -> Scene:
        """Draw the layers at a size in pixels."""
        drawn, nearness = BACKGROUNDS[self.background][1](
            height, width, self.background_seed, rgb(self.background_colour)
        )
        side = max(8, round(self.size * height))
        pen = Pen(side)
        SUBJECTS[self.subject](pen, rgb(self.subject_colour))
        patch, alpha = pen.finish()
        if self.flipped:
            patch, alpha = patch[:, ::-1], alpha[:, ::-1]
        centre = (self.x * width, self.y * height)
        canvas = Layer(
            np.zeros((height, width, 3), np.float32), np.zeros((height, width, 1), np.float32)
        )
        left, top = round(centre[0] - side / 2), round(centre[1] - side / 2)
        top_cut, left_cut = max(0, -top), max(0, -left)
        rows = slice(top + top_cut, min(top + side, height))
        columns = slice(left + left_cut, min(left + side, width))
        inner = (
            slice(top_cut, top_cut + rows.stop - rows.start),
            slice(left_cut, left_cut + columns.stop - columns.start),
        )
        canvas.rgb[rows, columns] = patch[inner]
        canvas.alpha[rows, columns] = alpha[inner]
        return Scene(
            background=np.clip(drawn, 0, 1).astype(np.float32),
            subject=canvas,
            nearness=nearness.astype(np.float32),
            centre=centre,
            radius=side / 2,
            extent=(side / 2, side / 2),
        )


def compose(rng: np.random.Generator, *, unseen: bool) -> Composition:
    """Draw a composition.

    Args:
        rng: Source of chance.
        unseen: Whether from what training never shows, or only from what it may show.
    """
    subjects = [name for name in SUBJECTS if (name in UNSEEN_SUBJECTS) == unseen]
    backgrounds = [name for name in BACKGROUNDS if unseen or name not in UNSEEN_BACKGROUNDS]
    colours = list(COLOURS)
    subject_colour = colours[int(rng.integers(len(colours)))]
    others = [name for name in colours if name != subject_colour]
    size = float(rng.uniform(0.45, 0.7))
    return Composition(
        subject=subjects[int(rng.integers(len(subjects)))],
        subject_colour=subject_colour,
        background=backgrounds[int(rng.integers(len(backgrounds)))],
        background_colour=others[int(rng.integers(len(others)))],
        background_seed=int(rng.integers(1 << 20)),
        x=float(rng.uniform(0.3, 0.7)),
        y=float(rng.uniform(0.48, 0.60)),
        size=size,
        flipped=bool(rng.random() < 0.5),
    )
