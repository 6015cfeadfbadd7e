"""A panel as one picture, moving or still: all of its clips keep time."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from vap.files.atomic import atomic_file
from vap.media.captions import draw_text, fit_text
from vap.mini.story.panels import Cell, Kind, Panel

_WIDTH, _TALL = 144, 96  # pixels of a cell's frame
_GAP, _TEXT, _LINES, _FRAME = 8, 11, 2, 2
_PAPER, _INK = (250, 250, 247), (70, 73, 78)
_BORDERS: dict[Kind, tuple[int, int, int]] = {
    "reference": (214, 118, 42),
    "image": (92, 124, 170),
    "result": (60, 62, 66),
}
_STILL = 0.75  # of the clip: the effect is there, and what leaves is still visible
_LAST = 1000  # milliseconds of the last frame

LEGEND = "Orange: reference. Blue: image. Black: result."


def write_animation(path: Path, panel: Panel, fps: float) -> None:
    """Write a panel as an animated WebP that loops."""
    count = max(len(cell.frames) for row in panel.rows for cell in row if cell)
    pages = [draw_panel(panel, number / max(count - 1, 1)) for number in range(count)]
    durations = [round(1000 / fps)] * (count - 1) + [_LAST]
    with atomic_file(path) as temporary:
        pages[0].save(
            temporary,
            format="WEBP",
            save_all=True,
            append_images=pages[1:],
            duration=durations,
            loop=0,
            quality=50,
            method=4,
        )


def write_still(path: Path, panel: Panel) -> None:
    """Write a panel as a PNG: its clips at three quarters of their length."""
    with atomic_file(path) as temporary:
        draw_panel(panel, _STILL).save(temporary, format="PNG", optimize=True)


def draw_panel(panel: Panel, time: float) -> Image.Image:
    """Draw a panel at one moment."""
    texts = [any(cell and cell.label for cell in row) for row in panel.rows]
    heights = [_TALL + (_LINES * (_TEXT + 2) + 2 if text else 0) for text in texts]
    columns = max(len(row) for row in panel.rows)
    size = (columns * (_WIDTH + _GAP) + _GAP, sum(heights) + _GAP * (len(heights) + 1))
    page = Image.new("RGB", size, _PAPER)
    top = _GAP
    for row, height in zip(panel.rows, heights, strict=True):
        for column, cell in enumerate(row):
            if cell is not None:
                _draw_cell(page, cell, (column * (_WIDTH + _GAP) + _GAP, top), time)
        top += height + _GAP
    return page


def _draw_cell(page: Image.Image, cell: Cell, corner: tuple[int, int], time: float) -> None:
    left, top = corner
    box = (left - _FRAME, top - _FRAME, left + _WIDTH + _FRAME - 1, top + _TALL + _FRAME - 1)
    ImageDraw.Draw(page).rectangle(box, fill=_BORDERS[cell.kind])
    moment = Image.fromarray(cell.frames[round(time * (len(cell.frames) - 1))])
    page.paste(moment.resize((_WIDTH, _TALL), Image.Resampling.BICUBIC), corner)
    for number, line in enumerate(fit_text(cell.label, _TEXT, _WIDTH, _LINES)):
        draw_text(page, (left, top + _TALL + 3 + number * (_TEXT + 2)), line, _INK, _TEXT)
