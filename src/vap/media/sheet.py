"""Contact sheets: rows of evenly spaced frames as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from vap.files.atomic import atomic_file
from vap.files.errors import refusal
from vap.media.captions import draw_text, fit_text, readable, text_width
from vap.media.clip import select_frames
from vap.media.images import FrameStack, as_frames

if TYPE_CHECKING:
    import torch

_WIDTH = 1680  # of all columns together, in pixels, for large frames
_ENLARGE = 3  # most that small frames grow
_TALLEST = 420
_MARGIN, _GAP, _ROW_GAP, _TITLE_GAP = 28, 6, 26, 10
_TEXT, _RADIUS, _SMOOTH = 19, 5, 4
_PAPER, _INK, _FAINT = (250, 250, 247), (38, 40, 44), (140, 143, 148)


@dataclass(frozen=True, slots=True)
class SheetRow:
    """A row of a contact sheet."""

    title: str  # a word or two: "reference", "image", "result"
    # A clip, as for ``write_video``; a still is a clip of one frame and shown once.
    frames: FrameStack | torch.Tensor
    note: str = ""  # fainter text after the title, such as a prompt; cut to the row's width


def write_sheet(path: str | Path, rows: Sequence[SheetRow], columns: int = 8) -> Path:
    """Draw rows of at most ``columns`` frames, spread evenly over each clip, as one PNG.

    Returns:
        The path written.

    Raises:
        MediaError: If a row has no frames, or the path cannot be written to.
        ValueError: If there are no rows or columns.
    """
    if not rows or columns < 1:
        raise ValueError(f"A sheet needs rows and columns: {len(rows)} and {columns} were given.")
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise refusal(target, "contact sheets are PNG", "Use a name that ends with .png.")
    strips = [_thumbnails(row, columns) for row in rows]
    titles = [round(text_width(readable(row.title), _TEXT)) for row in rows]
    widths = [len(strip) * (strip[0].width + _GAP) - _GAP for strip in strips]
    heights = [_TEXT + _TITLE_GAP + strip[0].height for strip in strips]
    width = max(*titles, *widths) + 2 * _MARGIN
    height = sum(heights) + (len(rows) - 1) * _ROW_GAP + 2 * _MARGIN
    sheet = Image.new("RGB", (width, height), _PAPER)
    top = _MARGIN
    for row, strip, tall in zip(rows, strips, heights, strict=True):
        _draw(sheet, row, strip, top)
        top += tall + _ROW_GAP
    with atomic_file(target) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)
    return target


def _thumbnails(row: SheetRow, columns: int) -> list[Image.Image]:
    """Equally large thumbnails of a row's frames."""
    frames = as_frames(row.frames)
    if frames.count == 0:
        raise refusal(f"row {row.title!r}", "it has no frames", "Give at least one.")
    cell = (_WIDTH - (columns - 1) * _GAP) / columns
    scale = min(cell / frames.width, _TALLEST / frames.height, _ENLARGE)
    size = (max(1, round(frames.width * scale)), max(1, round(frames.height * scale)))
    chosen = select_frames(frames.count, min(columns, frames.count))
    images = (Image.fromarray(frames.load(index)) for index in chosen)
    return [image.resize(size, Image.Resampling.LANCZOS) for image in images]


def _draw(sheet: Image.Image, row: SheetRow, strip: Sequence[Image.Image], top: int) -> None:
    draw_text(sheet, (_MARGIN, top), readable(row.title), _INK, _TEXT)
    left = _MARGIN + round(text_width(readable(row.title) + "   ", _TEXT))
    for note in fit_text(row.note, _TEXT, sheet.width - _MARGIN - left):
        draw_text(sheet, (left, top), note, _FAINT, _TEXT)
    mask = _rounded(strip[0].size)
    left = _MARGIN
    for image in strip:
        sheet.paste(image, (left, top + _TEXT + _TITLE_GAP), mask)
        left += image.width + _GAP


def _rounded(size: tuple[int, int]) -> Image.Image:
    """A mask with rounded corners, drawn large and reduced to smooth its edge."""
    width, height = size
    large = Image.new("L", (width * _SMOOTH, height * _SMOOTH), 0)
    box = (0, 0, large.width - 1, large.height - 1)
    ImageDraw.Draw(large).rounded_rectangle(box, _RADIUS * _SMOOTH, fill=255)
    return large.resize(size, Image.Resampling.BOX)
