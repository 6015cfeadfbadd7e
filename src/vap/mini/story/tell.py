"""From a model to the story's folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vap.evaluation.benchmarks.synth import check_conditions
from vap.files.atomic import atomic_file, check_makeable
from vap.files.names import DEFAULT_MODEL
from vap.media import read_image
from vap.mini.story import panels as make
from vap.mini.story.drawing import write_animation, write_still
from vap.mini.story.shown import CONDITIONS_SHOWN, pictures_of, references_of
from vap.mini.story.story_page import render_page
from vap.shapes import PixelShape

_IMAGES, _IN_GRID = 10, 5
_FEWEST = 2

Progress = Callable[[int, int], None]
"""Called with the number of finished panels, and of all."""


@dataclass(frozen=True)
class Story:
    """What is shown."""

    model: str = DEFAULT_MODEL  # name or folder of a Wan model
    # What the references show, at least two; the grid takes the first five, the others the first of
    # these.
    conditions: tuple[str, ...] = CONDITIONS_SHOWN
    images: tuple[Path, ...] = ()  # photographs to animate, before public ones; at most ten
    seed: int = 0  # of the drawn scenes
    steps: int | None = None  # denoising steps; None for the model's own


def tell(story: Story, output: Path, progress: Progress | None = None) -> list[Path]:
    """Write ``index.html`` with its animations, and the grid as ``references-by-images.png``.

    Args:
        story: What is shown.
        output: Folder to write to.
        progress: Called after each panel.

    Returns:
        The paths written.

    Raises:
        ValueError: If there are too few conditions, one does not exist, there are too many images
            or no steps, or the model is of another variant.
        FileNotFoundError: If there is no such model.
        MediaError: If an image cannot be read, or the folder cannot be made or written to.
    """
    _check(story, output)
    studio = make.Studio(story.model, steps=story.steps)
    native = studio.defaults
    shape = PixelShape(native.num_frames, native.height, native.width)
    references = references_of(story.conditions, shape, story.seed)
    pictures = pictures_of(story.images, _IMAGES, shape, story.seed)
    # Photographs come first, drawn scenes last.
    mixed = pictures[: _IN_GRID // 2 + 1] + pictures[-(_IN_GRID // 2) :]
    couples = list(zip(references[::2], references[1::2], strict=False))[:3]
    makers: list[Callable[[], make.Panel]] = [
        lambda: make.references_by_images(studio, references[:_IN_GRID], mixed),
        lambda: make.one_image(studio, references, pictures[-1]),
        lambda: make.one_reference(studio, references[0], pictures),
        lambda: make.strengths(studio, references[:_FEWEST], pictures[0]),
        lambda: make.guidances(studio, references[:_FEWEST], pictures[0]),
        lambda: make.two_references(studio, couples, pictures[-1]),
    ]
    panels, written = [], []
    for done, maker in enumerate(makers, start=1):
        panels.append(maker())
        written.append(output / f"{panels[-1].name}.webp")
        write_animation(written[-1], panels[-1], native.fps)
        if progress is not None:
            progress(done, len(makers))
    still, page = output / f"{panels[0].name}.png", output / "index.html"
    write_still(still, panels[0])
    title = f"{Path(story.model).name}: what a result depends on"
    with atomic_file(page) as temporary:
        temporary.write_text(render_page(title, panels, _origin(story)), encoding="utf-8")
    return sorted([*written, still, page])


def _check(story: Story, output: Path) -> None:
    """Refuse wrong choices before a model is loaded."""
    if len(story.conditions) < _FEWEST:
        raise ValueError(
            f"A story needs at least {_FEWEST} conditions; {story.conditions} were given."
        )
    check_conditions(story.conditions)
    if story.steps is not None and story.steps < 1:
        raise ValueError(f"steps={story.steps}; at least one denoising step is needed.")
    check_makeable(output)
    if len(story.images) > _IMAGES:
        raise ValueError(f"A story shows {_IMAGES} images; {len(story.images)} are too many.")
    for image in story.images:
        read_image(image)


def _origin(story: Story) -> str:
    return (
        "Drawn subjects are new to the model, and so are about half of their backgrounds. Parts of "
        "the photographs that ship with VAP-Synth occur in its training. All clips are the first "
        f"that were drawn (seed {story.seed}) and made (noise 0); the conditions were chosen."
    )
