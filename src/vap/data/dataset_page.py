"""A dataset as one HTML page that needs nothing but itself and, unless embedded, the clips."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from vap.data.check import has_file
from vap.data.clip_files import Progress, no_progress
from vap.data.rows import ClipRow
from vap.data.summary import ConditionSummary, Summary, summarize
from vap.files.atomic import atomic_file
from vap.media import MediaError, probe_clip, read_clip, select_frames, write_video

Samples = Literal["linked", "embedded"]

_EMBEDDED_SIDE = 192
_EMBEDDED_FPS = 8.0
_EMBEDDED_FRAMES = 24


@dataclass(frozen=True, slots=True)
class ShownClips:
    """How many clips of a dataset are on its page."""

    shown: int
    missing: int  # the file is not there
    unreadable: int  # could not be embedded; linked clips are not opened


def write_page(
    rows: Sequence[ClipRow],
    path: str | Path,
    *,
    root: str | Path,
    title: str = "VAP-Data",
    per_condition: int = 5,
    samples: Samples = "linked",
    progress: Progress = no_progress,
) -> ShownClips:
    """Write the page; it appears whole or not at all.

    Args:
        rows: The dataset.
        path: The ``.html`` file.
        root: Folder that the rows' paths start from.
        title: Heading of the page.
        per_condition: Clips shown of each condition, from its best score evenly to its worst.
        samples: ``"linked"`` plays the clips from where they lie, so page and clips have to be
            moved together; ``"embedded"`` puts small previews (at most 192 pixels and 24 frames)
            into the page.
        progress: Told after each condition.

    Returns:
        How many clips are on it.
    """
    if per_condition < 1:
        raise ValueError(f"per_condition={per_condition}: show at least 1 clip of each condition.")
    path, root = Path(path), Path(root)
    counts: Counter[str] = Counter()

    def source(row: ClipRow) -> str | None:
        clip = root / row.video
        if not has_file(root, row.video):
            counts["missing"] += 1
            return None
        url = _embedded(clip) if samples == "embedded" else _linked(clip, path)
        counts["unreadable" if url is None else "shown"] += 1
        return url

    page = render_page(
        rows, title=title, per_condition=per_condition, source=source, progress=progress
    )
    found = ShownClips(counts["shown"], counts["missing"], counts["unreadable"])
    if found.missing and not found.shown + found.unreadable:
        raise FileNotFoundError(
            f"None of the clips is in {root}, such as {rows[0].video}. Give the folder that the "
            "table's paths start from, with --root (root= in Python)."
        )
    with atomic_file(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return found


def render_page(
    rows: Sequence[ClipRow],
    *,
    title: str,
    per_condition: int,
    source: Callable[[ClipRow], str | None],
    progress: Progress = no_progress,
) -> str:
    """The page as text; ``source`` gives the URL of a clip's video, None if it is missing."""
    summary = summarize(rows)
    by_condition: dict[str, list[ClipRow]] = defaultdict(list)
    for row in rows:
        by_condition[row.condition].append(row)
    cards = []
    for done, condition in enumerate(summary.conditions, start=1):
        shown = _spread(by_condition[condition.name], per_condition)
        cards.append(_card(condition, [_sample(row, source(row)) for row in shown]))
        progress("showing", done, len(summary.conditions))
    script = _resource("page.js")
    slots = {
        "policy": _policy(script),
        "title": escape(title),
        "facts": _facts(summary),
        "histogram": _histogram(summary.histogram, width=300, height=84),
        "splits": "".join(f"<option>{escape(split)}</option>" for split in summary.splits),
        "conditions": "\n".join(cards),
        "script": script,
    }
    # One pass over the template, so that text in a slot is never taken for a slot.
    return re.sub(r"\{\{(\w+)\}\}", lambda slot: slots[slot[1]], _resource("page.html"))


def _spread(rows: Sequence[ClipRow], count: int) -> list[ClipRow]:
    """Rows from the best score to the worst, at even distances."""
    ranked = sorted(rows, key=lambda row: (-row.score, row.video))
    if len(ranked) <= count:
        return ranked
    return [ranked[index] for index in select_frames(len(ranked), count)]


def _linked(clip: Path, page: Path) -> str:
    relative = os.path.relpath(os.path.realpath(clip), Path(os.path.realpath(page)).parent)
    return quote(Path(relative).as_posix())


def _embedded(clip: Path) -> str | None:
    """A small silent preview as a data URL; None if the clip cannot be read."""
    try:
        info = probe_clip(clip)
        scale = min(1.0, _EMBEDDED_SIDE / max(info.height, info.width))
        small = read_clip(
            clip,
            fps=_EMBEDDED_FPS,
            size=(max(2, round(info.height * scale)), max(2, round(info.width * scale))),
            frame_indices=lambda count: select_frames(count, min(count, _EMBEDDED_FRAMES), "first"),
        )
    except MediaError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        video = write_video(small.frames, Path(folder) / "preview.mp4", small.fps, quality="small")
        return f"data:video/mp4;base64,{base64.b64encode(video.read_bytes()).decode()}"


def _facts(summary: Summary) -> str:
    facts = {
        "clips": f"{summary.clips:,}",
        "conditions": f"{len(summary.conditions):,}",
        "mean score": f"{summary.mean_score:.1f}",
        "references a clip": f"{summary.references:.1f}",
        **{f"in {split}": f"{count:,}" for split, count in summary.splits.items()},
    }
    return "".join(f"<div><dt>{escape(k)}</dt><dd>{v}</dd></div>" for k, v in facts.items())


def _card(condition: ConditionSummary, samples: Sequence[str]) -> str:
    chips = "".join(
        f'<span class="chip">{escape(split)} {count:,}</span>'
        for split, count in condition.splits.items()
    )
    return (
        f'<section class="condition" data-clips="{condition.clips}" '
        f'data-score="{condition.mean_score:.3f}"><header><div class="name">'
        f"<h2>{escape(condition.name)}</h2>"
        f'<span class="quiet">{condition.clips:,} clips · mean score {condition.mean_score:.1f}'
        f"</span></div><div>{chips}</div>{_histogram(condition.histogram, width=150, height=44)}"
        f'</header><div class="samples">{"".join(samples)}</div></section>'
    )


def _sample(row: ClipRow, source: str | None) -> str:
    text = escape(f"{row.condition} {row.caption} {row.video}".lower())
    video = "<span>no file</span>"
    if source is not None and row.video.lower().endswith(".gif") and not source.startswith("data:"):
        video = f'<img src="{escape(source)}" alt="" loading="lazy">'
    elif source is not None:
        video = f'<video src="{escape(source)}" muted loop playsinline preload="metadata"></video>'
    path = escape(row.video)
    if source is not None and not source.startswith("data:"):
        path = f'<a href="{escape(source)}">{path}</a>'
    return (
        f'<article class="sample" data-split="{escape(row.split)}" data-score="{row.score:g}" '
        f'data-text="{text}"><div class="frame">{video}'
        f'<span class="score" title="alignment score">{row.score:.0f}</span></div>'
        f'<p tabindex="0">{escape(row.caption)}</p><span class="quiet">{path}</span></article>'
    )


def _histogram(counts: Sequence[int], *, width: int, height: int) -> str:
    """Bars of the score's bins, 0 at the left and 100 at the right."""
    foot, step, tallest = 13, width / len(counts), max(*counts, 1)
    bars = []
    for index, count in enumerate(counts):
        bar = (height - foot) * count / tallest
        low = index * 100 // len(counts)
        bars.append(
            f'<rect x="{index * step + 1:.1f}" y="{height - foot - bar:.1f}" rx="1.5" '
            f'width="{step - 2:.1f}" height="{bar:.1f}">'
            f"<title>score {low} to {low + 100 // len(counts)}: {count:,} clips</title></rect>"
        )
    base = height - foot + 0.5
    return (
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Histogram of alignment scores">{"".join(bars)}'
        f'<line x1="0" x2="{width}" y1="{base}" y2="{base}"/>'
        f'<text x="0" y="{height - 2}">0</text>'
        f'<text x="{width}" y="{height - 2}" text-anchor="end">100</text></svg>'
    )


def _policy(script: str) -> str:
    """Content security policy: the page's own script, clips beside it, nothing from the network."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "media-src 'self' file: data:; img-src 'self' file: data:"
    )


def _resource(name: str) -> str:
    return resources.files("vap.data").joinpath(name).read_text(encoding="utf-8")
