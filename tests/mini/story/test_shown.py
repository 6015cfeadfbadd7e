from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.mini.conftest import SHAPE
from vap.mini.story.shown import CONDITIONS_SHOWN, pictures_of, references_of


def test_a_reference_looks_the_same_whatever_others_are_shown():
    alone, together = references_of(["pan"], SHAPE, 0), references_of(["sepia", "pan"], SHAPE, 0)
    np.testing.assert_array_equal(alone[0].frames, together[1].frames)
    assert alone[0].frames.shape == (5, 32, 64, 3)


def test_a_reference_says_who_never_trained_on_it():
    notes = [ref.note for ref in references_of(["sepia", "invert", "cross_stitch"], SHAPE, 0)]
    assert notes == ["", "new to the expert", "new to the whole model"]


def test_the_conditions_shown_exist():
    assert len(references_of(CONDITIONS_SHOWN, SHAPE, 0)) == 10


def test_a_misspelt_condition_is_refused():
    with pytest.raises(ValueError, match="sepai"):
        references_of(["sepai"], SHAPE, 0)


def test_own_photographs_come_first_and_drawn_scenes_fill_up(tmp_path):
    own = tmp_path / "own.png"
    Image.new("RGB", (200, 50), "red").save(own)
    pictures = pictures_of([own], 7, SHAPE, 0)
    assert [picture.pixels.shape for picture in pictures] == [(32, 64, 3)] * 7
    assert (pictures[0].pixels == (255, 0, 0)).all()
    assert pictures[0].caption == ""
    assert len({picture.caption for picture in pictures}) == 7


def test_more_photographs_than_pictures_are_refused():
    with pytest.raises(ValueError, match="3 photographs are too many"):
        pictures_of([Path("missing.png")] * 3, 2, SHAPE, 0)
