"""Line plots over two logarithmic axes, as plain SVG text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _MARGIN = 300, 220, 52, 40, 24
_NAMES = 100  # room for the legend, beside the plot
_DIGITS = ((1,), (1, 2, 5), (1, 1.2, 1.4, 1.6, 1.8, 2, 3, 4, 5, 6, 8))
# As many amounts stand below a plot themselves; of more, round values do.
_MOST_AMOUNTS = 8
_COLOURS = ("#1f5fa8", "#c0561a", "#3a7d34", "#7a3f98", "#8a7a1c", "#1c8a84", "#b0305c", "#555555")
_STYLE = "font-family:sans-serif;font-size:11px;fill:#333"


@dataclass(frozen=True, slots=True)
class Line:
    """Points that belong together.

    Attributes:
        name: For the legend.
        points: ``(x, y)``, both above 0.
    """

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot.

    Attributes:
        title: Above it.
        x_label: Below it.
        y_label: Beside it.
        lines: What is drawn.
    """

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]


def draw(rows: Sequence[Sequence[Panel]]) -> str:
    """A grid of panels as one SVG picture."""
    columns = max(len(row) for row in rows)
    width, height = columns * (_WIDTH + _NAMES), len(rows) * _HEIGHT
    drawn = [
        f'<g transform="translate({x * (_WIDTH + _NAMES)},{y * _HEIGHT})">{_panel(panel)}</g>'
        for y, row in enumerate(rows)
        for x, panel in enumerate(row)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" style="{_STYLE}">\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n'
        + "\n".join(drawn)
        + "\n</svg>\n"
    )


def _panel(panel: Panel) -> str:
    across = _Axis.of([x for line in panel.lines for x, _ in line.points], _LEFT, _WIDTH - _MARGIN)
    up = _Axis.of(
        [y for line in panel.lines for _, y in line.points], _HEIGHT - _BOTTOM, _MARGIN + 6
    )
    middle = (_LEFT + _WIDTH - _MARGIN) / 2
    parts = [
        _text(middle, 16, panel.title, "middle", bold=True),
        _text(middle, _HEIGHT - 6, panel.x_label, "middle"),
        _upright(12, _HEIGHT / 2 - 8, _text(0, 0, panel.y_label, "middle")),
    ]
    amounts = sorted({x for line in panel.lines for x, _ in line.points})
    for value in amounts if len(amounts) <= _MOST_AMOUNTS else across.ticks():
        parts.append(_rule(across.at(value), up.low, across.at(value), up.high))
        parts.append(_text(across.at(value), up.low + 14, _number(value), "middle"))
    for value in up.ticks():
        parts.append(_rule(across.low, up.at(value), across.high, up.at(value)))
        parts.append(_text(across.low - 5, up.at(value) + 4, _number(value), "end"))
    for index, line in enumerate(panel.lines):
        parts.append(_line(line, across, up, _COLOURS[index % len(_COLOURS)]))
        height, color = _MARGIN + 18 + 13 * index, _COLOURS[index % len(_COLOURS)]
        parts.append(_text(across.high + 8, height, line.name, "start", color))
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class _Axis:
    """A logarithmic axis: values from ``first`` to ``last`` at pixels from ``low`` to ``high``."""

    first: float
    last: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float], low: float, high: float) -> _Axis:
        """An axis with a little room beyond its values."""
        return cls(min(values) / 1.15, max(values) * 1.15, low, high)

    def at(self, value: float) -> float:
        share = math.log(value / self.first) / math.log(self.last / self.first)
        return self.low + share * (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values on the axis: as few a decade as show a scale."""
        decades = range(math.floor(math.log10(self.first)), math.ceil(math.log10(self.last)) + 1)
        for digits in _DIGITS:
            marks = [d * 10.0**e for e in decades for d in digits]
            inside = [mark for mark in marks if self.first <= mark <= self.last]
            if len(inside) >= 3:  # noqa: PLR2004 - fewer do not show a scale
                return inside
        return inside


def _line(line: Line, across: _Axis, up: _Axis, color: str) -> str:
    places = [(across.at(x), up.at(y)) for x, y in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places)
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>{dots}'


def _text(
    x: float, y: float, text: str, anchor: str, color: str = "#333", *, bold: bool = False
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}"{weight}>'
        f"{escape(text)}</text>"
    )


def _upright(x: float, y: float, text: str) -> str:
    return f'<g transform="translate({x:.0f},{y:.0f}) rotate(-90)">{text}</g>'


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.1f},{y1:.1f}L{x2:.1f},{y2:.1f}" stroke="#ddd" stroke-width="1"/>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"  # noqa: PLR2004 - digits that fit
