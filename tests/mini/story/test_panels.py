import numpy as np
import pytest

from tests.mini.conftest import SHAPE
from vap.mini.story.panels import (
    guidances,
    one_image,
    one_reference,
    references_by_images,
    strengths,
    two_references,
)
from vap.mini.story.shown import pictures_of, references_of


class Stub:
    """Makes single frames whose pixel says of which picture, reference and strength."""

    def animate(self, pairs, strength=1.0, guidance=None):
        scale = () if guidance is None else (guidance,)
        return [self._frame(pic.caption, ref.condition, strength, *scale) for pic, ref in pairs]

    def combine(self, picture, references):
        return self._frame(picture.caption, *(reference.condition for reference in references))

    def _frame(self, *told):
        return np.array([[[" | ".join(map(str, told))]]])


@pytest.fixture
def references():
    return references_of(["sepia", "pan", "night", "melt", "spin", "jump"], SHAPE, 0)


@pytest.fixture
def pictures():
    return pictures_of([], 6, SHAPE, 0)


def told(panel):
    """What each result was made of, row by row; empty for other cells."""
    return [
        [str(c.frames[0, 0, 0]) if c and c.kind == "result" else "" for c in row]
        for row in panel.rows
    ]


def test_the_grid_puts_each_reference_before_and_each_image_above_its_results(references, pictures):
    grid = told(references_by_images(Stub(), references[:2], pictures[:2]))
    a, b = (picture.caption for picture in pictures[:2])
    assert grid[1:] == [
        ["", f"{a} | sepia | 1.0", f"{b} | sepia | 1.0"],
        ["", f"{a} | pan | 1.0", f"{b} | pan | 1.0"],
    ]


def test_results_of_one_image_are_below_their_references(references, pictures):
    panel = one_image(Stub(), references, pictures[0])
    made = told(panel)
    assert made[1][1:] == [f"{pictures[0].caption} | {r.condition} | 1.0" for r in references[:5]]
    assert made[3][1] == f"{pictures[0].caption} | jump | 1.0"
    assert {len(row) for row in panel.rows} == {6}


def test_one_reference_meets_all_images(references, pictures):
    made = told(one_reference(Stub(), references[0], pictures))
    results = [cell for row in made for cell in row if cell]
    assert results == [f"{picture.caption} | sepia | 1.0" for picture in pictures]


def test_strength_rises_from_the_backbone_to_the_reference(references, pictures):
    panel = strengths(Stub(), references[:2], pictures[0])
    labels = [[cell.label for cell in row[1:]] for row in panel.rows]
    assert (
        labels[0] == labels[1] == [f"strength {s}" for s in ("0", "0.2", "0.4", "0.6", "0.8", "1")]
    )
    assert told(panel)[1][-1] == f"{pictures[0].caption} | pan | 1.0"


def test_guidance_rises_from_none_at_full_strength(references, pictures):
    panel = guidances(Stub(), references[:2], pictures[0])
    assert [cell.label for cell in panel.rows[1][1:]] == [
        f"scale {s}" for s in ("1", "1.5", "2", "3", "4")
    ]
    assert told(panel)[1][1] == f"{pictures[0].caption} | pan | 1.0 | 1.0"
    assert told(panel)[1][-1] == f"{pictures[0].caption} | pan | 1.0 | 4.0"


def test_two_references_are_shown_apart_and_together(references, pictures):
    panel = two_references(Stub(), [tuple(references[:2])], pictures[0])
    caption = pictures[0].caption
    assert told(panel)[0][2:] == [
        f"{caption} | sepia | 1.0", f"{caption} | pan | 1.0", f"{caption} | sepia | pan",
    ]  # fmt: skip
