"""The story as one HTML page beside its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from vap.files.atomic import atomic_file
from vap.mini.story.drawing import LEGEND
from vap.mini.story.panels import Panel

_STYLE = """
:root { color-scheme: light dark; }
body { font: 17px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
figure { margin: 0 0 3rem; }
img { max-width: 100%; height: auto; border-radius: 6px; }
"""


def write_page(path: Path, title: str, panels: Sequence[Panel], origin: str) -> None:
    """Write the page; it appears whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(render_page(title, panels, origin), encoding="utf-8")


def render_page(title: str, panels: Sequence[Panel], origin: str) -> str:
    """The page's text."""
    figures = "\n".join(_figure(panel) for panel in panels)
    heading = escape(title)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{heading}</title>\n<style>{_STYLE}</style>\n<h1>{heading}</h1>\n"
        f"<p>{escape(LEGEND)} {escape(origin)}</p>\n{figures}\n</html>\n"
    )


def _figure(panel: Panel) -> str:
    title, text = escape(panel.title), escape(panel.text)
    source = escape(f"{panel.name}.webp")
    return (
        f'<figure>\n<h2>{title}</h2>\n<p>{text}</p>\n<img src="{source}" alt="{title}">\n</figure>'
    )
