"""A dataset as one HTML page that needs nothing but itself and, unless embedded, the clips."""

from __future__ import annotations

import base64
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from jinja2 import Environment

from vap.data.check import has_file
from vap.data.clip_files import Progress, no_progress
from vap.data.rows import ClipRow
from vap.data.summary import summarize
from vap.files.atomic import atomic_file
from vap.media import MediaError, select_frames
from vap.media.preview import small_video

Samples = Literal["linked", "embedded"]


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
            moved together; ``"embedded"`` puts small previews into the page.
        progress: Called after each condition.
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
            f"{root} has none of the clips, such as {rows[0].video}. Give the folder that the "
            "table's paths are relative to with --root (root= in Python)."
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
        cards.append((condition, [(row, source(row)) for row in shown]))
        progress("showing", done, len(summary.conditions))
    script = _resource("page.js")
    environment = Environment(keep_trailing_newline=True)  # noqa: S701 - the template escapes
    environment.filters["e"] = escape
    return environment.from_string(_resource("page.html")).render(
        title=title,
        summary=summary,
        conditions=cards,
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


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
    try:
        return small_video(clip)
    except MediaError:
        return None


def _resource(name: str) -> str:
    return resources.files("vap.data").joinpath(name).read_text(encoding="utf-8")
