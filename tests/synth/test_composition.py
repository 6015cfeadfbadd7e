"""Scenes: every subject and background draws, and nothing depends on the resolution."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vap.synth.backgrounds import BACKGROUNDS, draw_background, place
from vap.synth.composition import compose
from vap.synth.fields import generator
from vap.synth.palette import COLOURS
from vap.synth.photos import photo
from vap.synth.subjects import SUBJECTS, draw_subject, has_colour


@pytest.mark.parametrize("subject", SUBJECTS)
def test_subject_fills_its_patch_and_takes_on_its_colour(subject):
    red, alpha = draw_subject(subject, 48, "red", "white")
    teal, _ = draw_subject(subject, 48, "teal", "white")
    assert red.shape == (48, 48, 3)
    assert 0.1 < alpha.mean() < 0.95
    assert (red <= alpha + 1e-5).all(), "colours are multiplied by alpha"
    assert (np.abs(red - teal).max() > 0.1) == has_colour(subject)


def test_edges_are_antialiased():
    _, alpha = draw_subject("owl", 48, "red", "white")
    assert ((alpha > 0.05) & (alpha < 0.95)).mean() > 0.02


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_background_is_a_varied_picture_with_depth(background):
    colours = {"colour": "blue", "accent": "orange"}
    picture, nearness = draw_background(background, 40, 64, seed=1, **colours)
    other, _ = draw_background(background, 40, 64, seed=2, **colours)
    assert picture.shape == (40, 64, 3)
    assert nearness.shape == (40, 64)
    assert nearness.min() >= 0
    assert nearness.max() <= 1
    assert picture.std() > 0.02
    assert np.abs(picture - other).max() > 0.05
    assert "{" not in place(background, "blue")


@given(seed=st.integers(0, 2**32), unseen=st.booleans())
@settings(max_examples=25, deadline=None)
def test_subject_is_inside_the_frame_and_its_box_is_right(seed, unseen):
    scene = compose(generator(seed), unseen=unseen).render(40, 64)
    rows, columns = np.nonzero(scene.subject.alpha[..., 0] > 0.5)
    assert scene.centre[0] - scene.extent[0] + 0.5 == pytest.approx(columns.min())
    assert scene.centre[1] + scene.extent[1] - 0.5 == pytest.approx(rows.max())
    assert scene.image.min() >= 0
    assert scene.image.max() <= 1 + 1e-5


@pytest.mark.parametrize("height", [36, 48, 64])
def test_in_a_narrow_frame_the_whole_subject_is_smaller(height):
    for seed in range(20):
        composition = replace(compose(generator(seed), unseen=False), size=0.7, aspect=1.1)
        narrow, roomy = composition.render(height, 16), composition.render(height, 4 * height)
        proportions = roomy.extent[0] / roomy.extent[1]
        assert narrow.extent[0] / narrow.extent[1] == pytest.approx(proportions, rel=0.25)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_captions_name_subject_and_place(seed):
    composition = compose(generator(seed), unseen=False)
    caption = composition.caption
    assert composition.subject in caption
    assert (composition.colour in caption.split(" in ")[0]) or not has_colour(composition.subject)
    article, first = caption.split()[:2]
    assert article == ("an" if first[0] in "aeiou" else "a")
    assert composition.colour != composition.background_colour


def test_once_keeps_the_first_result():
    scene = compose(generator(0), unseen=False).render(24, 32)
    assert scene.once("key", lambda: 1) == 1
    assert scene.once("key", lambda: 2) == 1


def test_colours_are_named_after_what_they_are():
    assert COLOURS["red"][0] > max(COLOURS["red"][1:])
    assert COLOURS["blue"][2] > max(COLOURS["blue"][:2])


def test_a_photograph_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match="no_such_photo"):
        photo("no_such_photo.png")
