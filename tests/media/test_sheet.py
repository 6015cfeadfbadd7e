import numpy as np
import pytest
from PIL import Image

from tests.media.making import flat, moving
from vap.media import MediaError, SheetRow, write_sheet
from vap.media.captions import draw_text, fit_text, readable, text_width

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


@pytest.mark.parametrize(
    "text",
    [
        "naïve café — Straße",
        "Zażółć gęślą jaźń",
        "Ёжик бежит",
        "γάτα τρέχει",
        "一只猫在草地上奔跑。",
        "カメラが寄る",
        "고양이가 달린다",
    ],
)
def test_letters_of_many_languages_have_a_font(text):
    assert readable(text) == text
    drawn = {draw(letter).tobytes() for letter in set(text) if not letter.isspace()}
    assert len(drawn) >= len(set(text.replace(" ", ""))) - 1  # no box for several of them


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\U0001f389 wow", "[party popper] wow"),
        ("❤️\u200d!", "[heavy black heart]!"),
        ("مرحبا", "[Arabic letters]"),
        ("a\x07\u200b", "a"),
        ("e\u0301", "é"),
    ],
)
def test_letters_without_a_font_are_named(text, shown):
    assert readable(text) == shown


def test_lines_break_between_words_and_between_chinese_characters():
    assert fit_text("one two three", 20, 80, 3) == ["one two", "three"]
    lines = fit_text("一只猫在草地上奔跑", 20, 85, 2)
    assert lines[0] == "一只猫在"
    assert lines[1].endswith("…")
    assert all(text_width(line, 20) <= 85 for line in lines)
    assert fit_text("x" * 10**6, 20, 100) == ["x" * 8 + "…"]
    assert fit_text("", 20, 100) == []


def draw(text):
    picture = Image.new("RGB", (300, 40))
    draw_text(picture, (5, 5), text, (255, 255, 255), 20)
    assert picture.getbbox() is not None
    return picture
