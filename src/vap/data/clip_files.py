"""The clips of a folder: found by condition, opened once, reduced to a signature."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vap.data.rows import VIDEO
from vap.data.signature import FRAMES, SIDE, ClipSignature, sign
from vap.data.table import CellError, parse_path
from vap.media import ClipInfo, MediaError, read_clip, select_frames

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif"})

Progress = Callable[[str, int, int], None]
"""Called with (what is done, number done, total number)."""


def no_progress(_what: str, _done: int, _total: int) -> None:
    """Report no progress."""


@dataclass(frozen=True, slots=True)
class FoundClip:
    """A video file under the folder of its condition."""

    path: Path
    video: str
    condition: str


@dataclass(frozen=True, slots=True, eq=False)
class InspectedClip(FoundClip):
    """A clip that could be decoded from first to last frame."""

    info: ClipInfo
    sha256: str
    signature: ClipSignature


@dataclass(frozen=True, slots=True)
class DroppedClip:
    """A clip left out of a dataset, and why."""

    video: str
    reason: str


def find_clips(folder: Path, root: Path) -> tuple[FoundClip, ...]:
    """Find the videos in the subfolders of a folder; each subfolder is a condition.

    Links to folders are followed, except those that lead back up. Hidden files are skipped.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no folder {folder}. Give a folder with one subfolder per condition."
        )
    if not folder.resolve().is_relative_to(root.resolve()):
        raise ValueError(
            f"{folder} is not inside the root {root}: choose a root that contains the clips."
        )
    prefix = folder.resolve().relative_to(root.resolve())
    found = []
    for path in sorted(_files(folder, frozenset())):
        parts = path.relative_to(folder).parts
        if len(parts) > 1 and path.suffix.lower() in VIDEO_SUFFIXES:
            found.append(FoundClip(path, prefix.joinpath(*parts).as_posix(), parts[0]))
    if not found:
        raise FileNotFoundError(
            f"No clip is in a subfolder of {folder}. Put videos into a subfolder named after their "
            f"condition; known suffixes are {', '.join(sorted(VIDEO_SUFFIXES))}."
        )
    return tuple(found)


def _files(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    """Files below a folder that are not hidden; ``above`` are the folders on the way to it."""
    here = folder.resolve()
    if here in above:
        return
    with suppress(PermissionError):  # such as lost+found
        for path in folder.iterdir():
            if path.name.startswith("."):
                continue
            if path.is_dir():
                yield from _files(path, above | {here})
            else:
                yield path


def inspect_clips(
    clips: tuple[FoundClip, ...], *, workers: int, progress: Progress
) -> Iterator[InspectedClip | DroppedClip]:
    """Decode each clip once, ``workers`` at a time; a broken one is dropped with its reason."""
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        work = pool.map(partial(_inspect, {}), clips)
        for done, result in enumerate(work, start=1):
            progress("decoding", done, len(clips))
            yield result
    finally:
        # Ctrl-C must not wait for thousands of clips.
        pool.shutdown(cancel_futures=True)


def _inspect(known: dict[str, str], clip: FoundClip) -> InspectedClip | DroppedClip:
    try:
        video = parse_path(clip.video, VIDEO, known)
        read = read_clip(
            clip.path,
            size=(SIDE, SIDE),
            fit="stretch",
            frame_indices=lambda count: select_frames(count, FRAMES),
        )
    except (MediaError, CellError) as error:
        return DroppedClip(clip.video, f"broken: {error}")
    return InspectedClip(
        clip.path, video, clip.condition, read.info, read.sha256, sign(read.frames)
    )
