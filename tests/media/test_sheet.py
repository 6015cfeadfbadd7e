import numpy as np
import pytest
from PIL import Image

from tests.media.making import flat, moving
from vap.media import MediaError, SheetRow, write_sheet

LEVELS = (20, 60, 100, 140, 180, 220)


def shown(path):
    """Grey levels of the frames on a sheet, from left to right."""
    pixels = np.asarray(Image.open(path).convert("L"))
    row = pixels[len(pixels) - 60]
    return [level for level in dict.fromkeys(row.tolist()) if level in LEVELS]


@pytest.mark.parametrize(
    ("columns", "expected"), [(8, list(LEVELS)), (3, [20, 100, 220]), (1, [20])]
)
def test_row_shows_frames_spread_over_the_clip(tmp_path, columns, expected):
    path = write_sheet(tmp_path / "a.png", [SheetRow("result", flat(*LEVELS))], columns)
    assert shown(path) == expected


@pytest.mark.parametrize(("height", "width"), [(64, 96), (96, 64), (768, 1200), (8, 8)])
def test_every_size_of_clip_gives_a_handy_sheet(tmp_path, height, width):
    rows = [SheetRow("reference", moving(8, height, width)), SheetRow("image", moving(1))]
    sheet = Image.open(write_sheet(tmp_path / "a.png", rows))
    assert sheet.width <= 1800
    assert sheet.height <= 1200
    assert sheet.getpixel((2, 2)) == (250, 250, 247)


def test_long_note_is_cut_to_the_sheet(tmp_path):
    sizes = {
        Image.open(write_sheet(tmp_path / "a.png", [SheetRow("a", moving(4), note)])).size
        for note in ("", "a very long prompt " * 100)
    }
    assert len(sizes) == 1


@pytest.mark.parametrize(("rows", "columns"), [([], 8), ([SheetRow("a", moving(2))], 0)])
def test_empty_sheets_are_refused(tmp_path, rows, columns):
    with pytest.raises(ValueError, match="rows and columns"):
        write_sheet(tmp_path / "a.png", rows, columns)


def test_rows_without_frames_and_other_suffixes_are_refused(tmp_path):
    with pytest.raises(MediaError, match="no frames"):
        write_sheet(tmp_path / "a.png", [SheetRow("a", [])])
    with pytest.raises(MediaError, match=r"ends with \.png"):
        write_sheet(tmp_path / "a.jpg", [SheetRow("a", moving(2))])
