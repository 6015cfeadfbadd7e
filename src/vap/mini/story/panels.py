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
from vap.mini.evaluation.trained import check_model
from vap.mini.story.shown import Picture, Reference

_COLUMNS = 5
_STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_SCALES = (1.0, 1.5, 2.0, 3.0, 4.0)
_BATCH = 10

Kind = Literal["reference", "image", "result"]


@dataclass(frozen=True, eq=False, slots=True)
class Cell:
    """A clip or picture in a panel.

    Attributes:
        kind: What it is.
        frames: ``uint8`` ``[T, H, W, 3]``; a picture has one frame.
        label: A few words below it.
    """

    kind: Kind
    frames: NDArray[np.uint8]
    label: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Panel:
    """Rows of cells.

    Attributes:
        name: File name without suffix.
        title: What is asked.
        text: How to read it.
        rows: From top to bottom; all of one length, None for an empty place.
    """

    name: str
    title: str
    text: str
    rows: Sequence[Sequence[Cell | None]]


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
        """Each picture by its own reference, guided by it as the model is by default."""
        videos = []
        for start in range(0, len(pairs), _BATCH):
            batch = pairs[start : start + _BATCH]
            pictures, references = zip(*batch, strict=True)
            videos += self._make(self._apart, pictures, references, strength, guidance)
        return videos

    def combine(self, picture: Picture, references: Sequence[Reference]) -> NDArray[np.uint8]:
        """One picture by several references at once."""
        return self._make(self._together, [picture], references)[0]

    def _make(
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
    pairs = [(picture, reference) for reference in references for picture in pictures]
    videos = iter(studio.animate(pairs))
    rows: list[list[Cell | None]] = [[None, *(_image(picture) for picture in pictures)]]
    rows += [
        [_shown(reference), *(Cell("result", next(videos)) for _ in pictures)]
        for reference in references
    ]
    return Panel(
        "references-by-images",
        "References × images",
        "On the left the references, at the top the images; between them what one model makes of "
        "each two. No caption names what happens.",
        rows,
    )


def one_image(studio: Studio, references: Sequence[Reference], picture: Picture) -> Panel:
    """One image, many references: each above its result."""
    videos = studio.animate([(picture, reference) for reference in references])
    rows: list[list[Cell | None]] = []
    for start in range(0, len(references), _COLUMNS):
        part = slice(start, start + _COLUMNS)
        told = _filled([_shown(reference) for reference in references[part]])
        rows.append([None if start else _image(picture), *told])
        rows.append([None, *_filled([Cell("result", video) for video in videos[part]])])
    return Panel(
        "one-image",
        f"One image, {len(references)} references",
        "Under each reference what it makes of the same image, with the same caption and the "
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
    rows: list[list[Cell | None]] = []
    for start in range(0, len(results), _COLUMNS):
        first = _shown(reference) if not start else None
        rows.append([first, *_filled(results[start : start + _COLUMNS])])
    return Panel(
        "one-reference",
        f"One reference, {len(pictures)} images",
        "The same happens to whatever is in the image, wherever it is: there is no mapping from "
        "pixels to pixels.",
        rows,
    )


def strengths(studio: Studio, references: Sequence[Reference], picture: Picture) -> Panel:
    """From the backbone alone to the reference in full."""
    made = {s: studio.animate([(picture, r) for r in references], s) for s in _STRENGTHS}
    rows = _by_amount(references, "strength", made)
    return Panel(
        "strength",
        "Strength from 0 to 1",
        "At 0 the reference is not read: the backbone alone, bit for bit, which does as it likes. "
        "At 1 it is read as in training.",
        rows,
    )


def guidances(studio: Studio, references: Sequence[Reference], picture: Picture) -> Panel:
    """From the reference as it was trained to be read, to far past it."""
    made = {s: studio.animate([(picture, r) for r in references], guidance=s) for s in _SCALES}
    rows = _by_amount(references, "scale", made)
    return Panel(
        "guidance",
        "Guidance by the reference",
        "At 1 the reference is read as in training. At more the result goes so many times as far "
        "from what the backbone alone would do: plainer effects, and in the end too much of them.",
        rows,
    )


def two_references(
    studio: Studio, pairs: Sequence[tuple[Reference, Reference]], picture: Picture
) -> Panel:
    """Two references alone and together."""
    rows = []
    for first, second in pairs:
        alone = studio.animate([(picture, first), (picture, second)])
        both = studio.combine(picture, (first, second))
        named = zip(("the first", "the second", "both"), (*alone, both), strict=True)
        results = [Cell("result", video, f"by {name}") for name, video in named]
        rows.append([_shown(first), _shown(second), *results])
    return Panel(
        "two-references",
        "Two references at once",
        "Two references, what each makes of an image, and what both make of it together. The "
        "model was trained on one at a time.",
        rows,
    )


def _by_amount(
    references: Sequence[Reference], name: str, made: Mapping[float, Sequence[NDArray[np.uint8]]]
) -> list[list[Cell | None]]:
    """A row a reference: what became of it at each amount."""
    return [
        [
            _shown(reference),
            *(Cell("result", videos[i], f"{name} {amount:g}") for amount, videos in made.items()),
        ]
        for i, reference in enumerate(references)
    ]


def _shown(reference: Reference) -> Cell:
    note = f" ({reference.note})" if reference.note else ""
    return Cell("reference", reference.frames, reference.label + note)


def _image(picture: Picture) -> Cell:
    return Cell("image", picture.pixels[np.newaxis], picture.caption)


def _filled(cells: Sequence[Cell]) -> list[Cell | None]:
    """A row of all columns."""
    return [*cells, *[None] * (_COLUMNS - len(cells))]
