import numpy as np
import pytest
from PIL import Image

from vap.mini.story.drawing import draw_panel, write_animation, write_still
from vap.mini.story.panels import Cell, Panel


def clip(levels):
    return np.stack([np.full((32, 48, 3), level, np.uint8) for level in levels])


@pytest.fixture
def panel():
    result = Cell("result", clip([0, 50, 100, 150, 200]), "a label far too long " * 9)
    rows = [[None, Cell("image", clip([255]))], [Cell("reference", clip([9] * 5)), result]]
    return Panel("name", "title", "text", rows)


def middle(page, row):
    """Brightness in the middle of the second cell of a row without labels above it."""
    return page.convert("L").getpixel((8 + 152 + 72, 8 + 104 * row + 48))


@pytest.mark.parametrize(("time", "level"), [(0, 0), (0.5, 100), (1, 200)])
def test_clips_keep_time_and_pictures_stand_still(panel, time, level):
    page = draw_panel(panel, time)
    assert (middle(page, 0), middle(page, 1)) == (255, level)


def test_empty_places_are_paper(panel):
    assert draw_panel(panel, 0).getpixel((80, 50)) == (250, 250, 247)


def test_an_animation_has_the_clips_frames_and_loops(panel, tmp_path):
    path = tmp_path / "panel.webp"
    write_animation(path, panel, fps=8)
    with Image.open(path) as image:
        assert (image.n_frames, image.info["loop"]) == (5, 0)
        image.seek(4)
        assert middle(image, 1) == pytest.approx(200, abs=6)


def test_a_still_shows_clips_before_their_end(panel, tmp_path):
    write_still(tmp_path / "panel.png", panel)
    with Image.open(tmp_path / "panel.png") as image:
        assert middle(image, 1) == 150
