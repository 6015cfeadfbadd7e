"""The story as one HTML page beside its pictures."""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import Environment

from vap.mini.story.drawing import LEGEND
from vap.mini.story.panels import Panel

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; }
body { font: 17px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
figure { margin: 0 0 3rem; }
img { max-width: 100%; height: auto; border-radius: 6px; }
</style>
<h1>{{ title }}</h1>
<p>{{ legend }} {{ origin }}</p>
{%- for panel in panels %}
<figure>
<h2>{{ panel.title }}</h2>
<p>{{ panel.text }}</p>
<img src="{{ panel.name }}.webp" alt="{{ panel.title }}">
</figure>
{%- endfor %}
</html>
"""


def render_page(title: str, panels: Sequence[Panel], origin: str) -> str:
    """The page's text."""
    template = Environment(autoescape=True).from_string(_PAGE)
    return template.render(title=title, panels=panels, origin=origin, legend=LEGEND) + "\n"
