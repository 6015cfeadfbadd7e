"""Text in pictures, in Latin, Greek, Cyrillic, Chinese, Japanese and Korean, with shipped fonts.

What the fonts lack, such as emoji, is shown by its name in brackets.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_FONTS = ("letters.ttf", "cjk.ttf")
_ABSENT = "\uffff"  # no character: what fonts draw for those that they lack
_CJK = "\u2e80"  # from here on, lines may break between any two characters
_UNSEEN = ("Cc", "Cf")  # Unicode's categories of control and format characters
_LONGEST = 1000  # characters; more never fit a picture


def draw_text(
    picture: Image.Image, place: tuple[int, int], text: str, color: tuple[int, int, int], size: int
) -> None:
    """Draw one line of :func:`fit_text` at (left, top); ``size`` is its em square in pixels."""
    pen, (left, top) = ImageDraw.Draw(picture), place
    x = float(left)
    for piece, font in _pieces(text, size):
        pen.text((x, top + size), piece, color, font, anchor="ls")
        x += font.getlength(piece)


def text_width(text: str, size: int) -> float:
    """Width of one line of text in pixels."""
    return sum(font.getlength(piece) for piece, font in _pieces(text, size))


def fit_text(text: str, size: int, width: float, lines: int = 1) -> list[str]:
    """Break text into at most ``lines`` lines of ``width`` pixels, the last cut by an ellipsis."""
    fitted: list[str] = []
    left = readable(" ".join(text[:_LONGEST].split()))
    while left and len(fitted) < lines:
        end = _fitting(left, size, width)
        if end < len(left) and len(fitted) == lines - 1:
            end = _fitting(left, size, width - text_width("…", size))
            fitted.append(left[:end].rstrip() + "…" if end else "")
            break
        if end < len(left) and max(left[end - 1 : end + 1]) < _CJK:
            space = left.rfind(" ", 0, end + 1)
            end = space if space > 0 else end
        end = max(end, 1)
        fitted.append(left[:end].rstrip())
        left = left[end:].lstrip()
    return fitted


def readable(text: str) -> str:
    """Text in which characters that no font has are named: ``[party popper]``."""
    composed = unicodedata.normalize("NFC", text)
    shown = (letter for letter in composed if unicodedata.category(letter) not in _UNSEEN)
    parts = []
    for known, letters in groupby(shown, key=lambda letter: _font_of(letter) is not None):
        run = "".join(letters)
        names = ", ".join(dict.fromkeys(filter(None, map(_name, run))))
        parts.append(run if known else f"[{names}]" if names else "")
    return "".join(parts)


def _name(letter: str) -> str:
    name = unicodedata.name(letter, f"U+{ord(letter):04X}")
    if name.startswith("VARIATION SELECTOR"):
        return ""
    is_letter = unicodedata.category(letter)[0] in "LM"
    return f"{name.split()[0].capitalize()} letters" if is_letter else name.lower()


def _fitting(text: str, size: int, width: float) -> int:
    """Number of characters that fit."""
    x = 0.0
    for end, letter in enumerate(text):
        x += _advance(letter, size)
        if x > width:
            return end
    return len(text)


@lru_cache(maxsize=4096)
def _advance(letter: str, size: int) -> float:
    return text_width(letter, size)


def _pieces(text: str, size: int) -> Iterator[tuple[str, ImageFont.FreeTypeFont]]:
    """Runs of characters that one font has."""
    for name, run in groupby(text, key=lambda letter: _font_of(letter) or _FONTS[0]):
        yield "".join(run), _font(name, size)


@lru_cache(maxsize=4096)
def _font_of(letter: str) -> str | None:
    """The first font that has a character."""
    for name in _FONTS:
        font = _font(name, 16)
        drawn, absent = font.getmask(letter), font.getmask(_ABSENT)
        if (drawn.size, bytes(drawn)) != (absent.size, bytes(absent)):
            return name
    return None


@lru_cache(maxsize=8)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    path = Path(__file__).parent / "fonts" / name
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
