"""Panels: tables of clips that answer one question each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vap.evaluation.systems.one_reference_each import OneReferenceEach
from vap.loading.pipeline import load_pipeline
from vap.media.pixels import to_uint8
from vap.mini.evaluation.preset import check_model
from vap.mini.story.shown import Picture, Reference

_COLUMNS = 5
_STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_SCALES = (1.0, 1.5, 2.0, 3.0, 4.0)
_BATCH = 10

Kind = Literal["reference", "image", "result"]


@dataclass(frozen=True, eq=False, slots=True)
class Cell:
    """A clip or picture (one frame) ``uint8`` ``[T, H, W, 3]``, with a few words below it."""

    kind: Kind
    frames: NDArray[np.uint8]
    label: str = ""


Row = Sequence[Cell | None]
"""Cells from left to right, None for an empty place."""


@dataclass(frozen=True, eq=False, slots=True)
class Panel:
    """Rows of one length."""

    name: str  # file name without suffix
    title: str  # the question
    text: str  # how to read the answer
    rows: Sequence[Row]  # from top to bottom


class Studio:
    """A model that animates pictures by references."""

    def __init__(self, model: str | Path, *, seed: int = 0, steps: int | None = None) -> None:
        check_model(model)
        self._together = load_pipeline(model, device="cpu")
        self._together.set_progress_bar_config(disable=True)
        self._apart = OneReferenceEach.of(self._together)
        self._seed, self._steps = seed, steps
        self.defaults = self._together.defaults

    def animate(
        self,
        pairs: Sequence[tuple[Picture, Reference]],
        strength: float = 1.0,
        guidance: float | None = None,
    ) -> list[NDArray[np.uint8]]:
        """Each picture by its own reference, with the model's guidance by default."""
        videos = []
        for start in range(0, len(pairs), _BATCH):
            pictures, references = zip(*pairs[start : start + _BATCH], strict=True)
            videos += self._generate(self._apart, pictures, references, strength, guidance)
        return videos

    def combine(self, picture: Picture, references: Sequence[Reference]) -> NDArray[np.uint8]:
        """One picture by several references at once."""
        return self._generate(self._together, [picture], references)[0]

    def _generate(
        self,
        pipeline: Any,
        pictures: Sequence[Picture],
        references: Sequence[Reference],
        strength: float = 1.0,
        guidance: float | None = None,
    ) -> list[NDArray[np.uint8]]:
        output = pipeline(
            [Image.fromarray(picture.pixels) for picture in pictures],
            [picture.caption for picture in pictures],
            reference_videos=[reference.frames for reference in references],
            reference_prompts=[reference.caption for reference in references],
            negative_prompt="",
            strength=strength,
            reference_guidance_scale=guidance,
            num_inference_steps=self._steps,
            generator=[torch.Generator().manual_seed(self._seed) for _ in pictures],
            output_type="np",
        )
        return list(to_uint8("result", np.asarray(output.frames)))


def references_by_images(
    studio: Studio, references: Sequence[Reference], pictures: Sequence[Picture]
) -> Panel:
    """Every reference with every image."""
    videos = iter(studio.animate([(p, reference) for reference in references for p in pictures]))
    rows: list[Row] = [[None, *map(_image, pictures)]]
    rows += [
        [_shown(reference), *(Cell("result", next(videos)) for _ in pictures)]
        for reference in references
    ]
    return Panel(
        "references-by-images",
        "References × images",
        "The references are on the left, the images at the top. Between them is what one model "
        "makes of each two. No caption names the effect.",
        rows,
    )


def one_image(studio: Studio, references: Sequence[Reference], picture: Picture) -> Panel:
    """One image, many references: each above its result."""
    videos = studio.animate([(picture, reference) for reference in references])
    rows: list[Row] = []
    for start in range(0, len(references), _COLUMNS):
        part = slice(start, start + _COLUMNS)
        first = None if start else _image(picture)
        rows.append([first, *_filled([_shown(reference) for reference in references[part]])])
        rows.append([None, *_filled([Cell("result", video) for video in videos[part]])])
    return Panel(
        "one-image",
        f"One image, {len(references)} references",
        "Below each reference is what it makes of the same image, with the same caption and the "
        "same noise.",
        rows,
    )


def one_reference(studio: Studio, reference: Reference, pictures: Sequence[Picture]) -> Panel:
    """One reference, many images."""
    videos = studio.animate([(picture, reference) for picture in pictures])
    results = [
        Cell("result", video, picture.caption)
        for video, picture in zip(videos, pictures, strict=True)
    ]
    rows = [
        [None if start else _shown(reference), *_filled(results[start : start + _COLUMNS])]
        for start in range(0, len(results), _COLUMNS)
    ]
    return Panel(
        "one-reference",
        f"One reference, {len(pictures)} images",
        "The effect does not depend on what is in the image, nor where: pixels are not mapped to "
        "pixels.",
        rows,
    )


def strengths(studio: Studio, references: Sequence[Reference], picture: Picture) -> Panel:
    """From the backbone alone to the reference in full."""
    pairs = [(picture, reference) for reference in references]
    made = {f"strength {s:g}": studio.animate(pairs, s) for s in _STRENGTHS}
    return Panel(
        "strength",
        "Strength from 0 to 1",
        "At 0 the model does not read the reference: this is the backbone alone, bit for bit. At 1 "
        "it reads the reference as in training.",
        _by_amount(references, made),
    )


def guidances(studio: Studio, references: Sequence[Reference], picture: Picture) -> Panel:
    """From the reference as it was read in training, to far beyond."""
    pairs = [(picture, reference) for reference in references]
    made = {f"scale {s:g}": studio.animate(pairs, guidance=s) for s in _SCALES}
    return Panel(
        "guidance",
        "Guidance by the reference",
        "At 1 the model reads the reference as in training. A larger scale moves the result so "
        "many times as far from the backbone's own: clearer effects, and in the end too much of "
        "them.",
        _by_amount(references, made),
    )


def two_references(
    studio: Studio, pairs: Sequence[tuple[Reference, Reference]], picture: Picture
) -> Panel:
    """Two references alone and together."""
    rows = []
    for pair in pairs:
        videos = studio.animate([(picture, reference) for reference in pair])
        videos.append(studio.combine(picture, pair))
        names = ("by the first", "by the second", "by both")
        results = [Cell("result", video, name) for video, name in zip(videos, names, strict=True)]
        rows.append([*map(_shown, pair), *results])
    return Panel(
        "two-references",
        "Two references at once",
        "Two references, what each makes of an image, and what both make of it together. The "
        "model was trained on one at a time.",
        rows,
    )


def _by_amount(
    references: Sequence[Reference], made: Mapping[str, Sequence[NDArray[np.uint8]]]
) -> list[Row]:
    """A row for each reference: what it made at each amount."""
    return [
        [_shown(reference), *(Cell("result", videos[i], name) for name, videos in made.items())]
        for i, reference in enumerate(references)
    ]


def _shown(reference: Reference) -> Cell:
    note = f" ({reference.note})" if reference.note else ""
    return Cell("reference", reference.frames, reference.label + note)


def _image(picture: Picture) -> Cell:
    return Cell("image", picture.pixels[np.newaxis], picture.caption)


def _filled(cells: Sequence[Cell]) -> Row:
    """A row of all columns."""
    return [*cells, *[None] * (_COLUMNS - len(cells))]
