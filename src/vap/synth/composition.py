"""Compositions: what is in a scene and where, drawn once, rendered at any size."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from vap.synth.backgrounds import (
    BACKGROUNDS,
    SCENIC_BACKGROUNDS,
    UNSEEN_BACKGROUNDS,
    draw_background,
    place,
)
from vap.synth.opencv import cv2
from vap.synth.palette import COLOURS
from vap.synth.scene import Layer, Scene
from vap.synth.subjects import DRAWINGS, SUBJECTS, UNSEEN_SUBJECTS, draw_subject, has_colour

_SMALLEST_PATCH = 8
_SOLID = 0.5  # alpha from which a pixel counts as part of the subject

_A_BEFORE_VOWEL = re.compile(r"\ba (?=[aeiou])")


@dataclass(frozen=True, slots=True)
class Composition:
    """A scene in words and numbers, independent of the resolution."""

    subject: str
    colour: str  # name of its main color
    accent: str  # name of its second color
    background: str  # name of the background
    background_colour: str  # name of its main color
    background_accent: str  # name of its second color
    background_seed: int  # which one of its kind
    x: float  # middle of the subject, share of the width
    y: float  # middle of the subject, share of the height
    size: float  # height of the subject's patch, share of the frame's height
    aspect: float  # width of the patch over its height
    flipped: bool  # whether the subject is mirrored

    @property
    def caption(self) -> str:
        """Subject and place in words: "a red owl on a beach under a yellow sky"."""
        thing = f"{self.colour} {self.subject}" if has_colour(self.subject) else self.subject
        words = f"a {thing} {place(self.background, self.background_colour)}"
        return _A_BEFORE_VOWEL.sub("an ", words)

    def render(self, height: int, width: int) -> Scene:
        """Draw the layers at a size in pixels."""
        picture, nearness = draw_background(
            self.background,
            height,
            width,
            seed=self.background_seed,
            colour=self.background_colour,
            accent=self.background_accent,
        )
        subject = self._place_subject(height, width)
        columns = np.flatnonzero(subject.alpha[..., 0].max(axis=0) > _SOLID)
        rows = np.flatnonzero(subject.alpha[..., 0].max(axis=1) > _SOLID)
        half = ((columns[-1] - columns[0] + 1) / 2, (rows[-1] - rows[0] + 1) / 2)
        return Scene(
            background=np.clip(picture, 0, 1).astype(np.float32),
            subject=subject,
            nearness=nearness.astype(np.float32),
            centre=(float(columns[0] + half[0] - 0.5), float(rows[0] + half[1] - 0.5)),
            extent=(float(half[0]), float(half[1])),
        )

    def _place_subject(self, height: int, width: int) -> Layer:
        """Draw the subject's patch and put it on a transparent canvas of the frame's size."""
        wide = max(_SMALLEST_PATCH, round(self.size * height * self.aspect))
        shrink = min(1.0, width / wide)
        wide = min(wide, width)
        tall = max(_SMALLEST_PATCH, round(self.size * height * shrink))
        rgb, alpha = draw_subject(self.subject, max(tall, wide), self.colour, self.accent)
        patch = np.concatenate([rgb, alpha], axis=2)
        patch = cv2().resize(patch, (wide, tall), interpolation=cv2().INTER_AREA)
        if self.flipped:
            patch = patch[:, ::-1]
        canvas = np.zeros((height, width, 4), np.float32)
        top = round(min(max(self.y * height - tall / 2, 0), max(height - tall, 0)))
        left = round(min(max(self.x * width - wide / 2, 0), max(width - wide, 0)))
        inside = patch[: height - top, : width - left]
        canvas[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
        return Layer.of(canvas)


def compose(rng: np.random.Generator, *, unseen: bool, drawn: bool = False) -> Composition:
    """Draw a composition.

    Args:
        rng: Of all its choices.
        unseen: Whether its subject is one that training never shows.
        drawn: Whether nothing of it is a photograph or a noise-like texture.
    """
    subjects = [name for name in SUBJECTS if (name in UNSEEN_SUBJECTS) == unseen]
    novel = unseen and bool(rng.integers(2))
    backgrounds = [name for name in BACKGROUNDS if (name in UNSEEN_BACKGROUNDS) == novel]
    if drawn:
        subjects = [name for name in subjects if name in DRAWINGS]
        backgrounds = [name for name in backgrounds if name in SCENIC_BACKGROUNDS]
    # Four different colors keep the subject apart from what is behind it.
    colours = rng.permutation(list(COLOURS))[:4]
    return Composition(
        subject=subjects[int(rng.integers(len(subjects)))],
        colour=str(colours[0]),
        accent=str(colours[1]),
        background=backgrounds[int(rng.integers(len(backgrounds)))],
        background_colour=str(colours[2]),
        background_accent=str(colours[3]),
        background_seed=int(rng.integers(1 << 20)),
        x=float(rng.uniform(0.3, 0.7)),
        y=float(rng.uniform(0.48, 0.6)),
        size=float(rng.uniform(0.5, 0.72)),
        aspect=float(rng.uniform(0.88, 1.12)),
        flipped=bool(rng.integers(2)),
    )
