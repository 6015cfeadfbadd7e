"""Contact sheets of a run: many cases in brief, and some with every system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vap.evaluation.case import Case
from vap.evaluation.run_folder import RunFolder
from vap.media import SheetRow, read_clip, select_frames, write_sheet
from vap.media.pixels import RGB

_FRAMES = 5
_BRIEF = 3  # start, middle and end
_SHOWN, _IN_DETAIL = 12, 2  # cases of a group


def write_sheets(run: RunFolder, shown: str, folder: Path) -> list[Path]:
    """Write two sheets for each group: ``GROUP.png`` and ``GROUP-systems.png``.

    Args:
        run: The run.
        shown: Name of the system that the first sheet shows.
        folder: Where to write.

    Returns:
        The paths written.
    """
    written = []
    for group in dict.fromkeys(case.group for case in run.cases):
        cases = [case for case in run.cases if case.group == group]
        name = group or "all"
        brief = [row for case in cases[:_SHOWN] for row in _brief(run, case, shown)]
        detail = [row for case in cases[:_IN_DETAIL] for row in _all(run, case)]
        for stem, rows, columns in (
            (name, brief, 3 * _BRIEF),
            (f"{name}-systems", detail, _FRAMES),
        ):
            if rows:
                written.append(write_sheet(folder / f"{stem}.png", rows, columns))
    return written


def _brief(run: RunFolder, case: Case, shown: str) -> list[SheetRow]:
    """Start, middle and end of the reference, the truth and the result in one row."""
    import numpy as np

    video = run.video(shown, case)
    clips = [(case.reference, "reference"), (case.truth, "truth"), (video, "result")]
    there = [(path, name) for path, name in clips if path is not None]
    if video is None:
        return []
    size = _size(video)
    frames = [_frames(path, _BRIEF, size) for path, _ in there]
    note = ", ".join(name for _, name in there)
    return [SheetRow(case.condition, np.concatenate(frames), note)]


def _all(run: RunFolder, case: Case) -> Sequence[SheetRow]:
    """A row for the reference, then one for every system."""
    title = f"{case.condition}: reference"
    rows = [SheetRow(title, _frames(case.reference, _FRAMES), case.reference_prompt)]
    for system in run.systems:
        video = run.video(system.name, case)
        if video is not None:
            name = (system.title or system.name).strip("*")
            rows.append(SheetRow(name, _frames(video, _FRAMES)))
    return rows


def _size(video: Path) -> tuple[int, int]:
    from vap.media import probe_clip

    info = probe_clip(video)
    return info.height, info.width


def _frames(path: Path, count: int, size: tuple[int, int] | None = None) -> RGB:
    """Evenly spaced frames, the first and the last among them."""
    return read_clip(
        path, size=size, frame_indices=lambda frames: select_frames(frames, min(count, frames))
    ).frames
