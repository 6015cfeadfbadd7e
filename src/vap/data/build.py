"""Make a dataset table of a folder of clips with a subfolder for each condition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from vap.data.captions import Captioner
from vap.data.clip_files import (
    DroppedClip,
    InspectedClip,
    Progress,
    find_clips,
    inspect_clips,
    no_progress,
)
from vap.data.duplicates import DEFAULT_DISTANCE, check_distance, find_duplicates
from vap.data.judge import Judge
from vap.data.pairing import COGVIDEOX_THRESHOLD, seeded
from vap.data.rows import MAX_REFERENCES, TRAIN, ClipRow, ReferenceChoice
from vap.data.table import Table

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class BuildRules:
    """How a table is made."""

    # Bits of 512 in which a near-duplicate may differ, 0 to 41; None keeps them.
    duplicates: int | None = DEFAULT_DISTANCE
    references: int = MAX_REFERENCES  # listed for a row at most
    # ``"random"`` lists a row's references at random, ``"best"`` the best scored.
    choice: ReferenceChoice = "random"
    # Only clips scored above this are listed as references.
    reference_above: float = COGVIDEOX_THRESHOLD
    split: str = TRAIN
    seed: int = 0
    workers: int = 2  # clips decoded at a time

    def __post_init__(self) -> None:
        if not 0 <= self.references <= MAX_REFERENCES:
            raise ValueError(f"references={self.references}: list 0 to {MAX_REFERENCES}.")
        if self.duplicates is not None:
            check_distance(self.duplicates)
        if self.workers < 1:
            raise ValueError(f"workers={self.workers}: at least 1 clip must be decoded at a time.")


@dataclass(frozen=True, slots=True)
class Build:
    """A table made of clips, and the clips that are not in it."""

    table: Table
    dropped: tuple[DroppedClip, ...]


def build_table(
    folder: str | Path,
    captioner: Captioner,
    judge: Judge,
    rules: BuildRules,
    *,
    root: str | Path | None = None,
    progress: Progress = no_progress,
) -> Build:
    """Make a dataset table of the clips in a folder with a subfolder for each condition.

    Broken clips and near-duplicates are dropped, the others captioned and scored, and for each up
    to ten references of its condition are chosen. The table's paths start from ``root``, by default
    the folder itself.

    Raises:
        FileNotFoundError: If there is no such folder or no clip in its subfolders.
        ValueError: If ``folder`` is outside ``root``.
    """
    folder = Path(folder)
    found = find_clips(folder, folder if root is None else Path(root))
    inspected = list(inspect_clips(found, workers=rules.workers, progress=progress))
    dropped = [clip for clip in inspected if isinstance(clip, DroppedClip)]
    clips = [clip for clip in inspected if isinstance(clip, InspectedClip)]
    clips = _drop_duplicates(clips, rules, dropped)
    captions = _each(clips, captioner.caption, "captioning", progress, dropped)
    clips = [clip for clip in clips if clip.video in captions]
    conditions: dict[str, list[InspectedClip]] = defaultdict(list)
    for clip in clips:
        conditions[clip.condition].append(clip)

    def judged(clip: InspectedClip) -> float:
        return judge.score(clip, conditions[clip.condition])

    scores = _each(clips, judged, "scoring", progress, dropped)
    rows = [
        ClipRow(
            clip.video, (), captions[clip.video], clip.condition, rules.split, scores[clip.video]
        )
        for clip in clips
        if clip.video in scores
    ]
    dropped.sort(key=lambda drop: drop.video)
    return Build(Table(choose_references(rows, rules)), tuple(dropped))


def choose_references(rows: Sequence[ClipRow], rules: BuildRules) -> tuple[ClipRow, ...]:
    """List references for every row, from the well scored other clips of its condition."""
    candidates: dict[str, list[ClipRow]] = defaultdict(list)
    for row in rows:
        if row.score > rules.reference_above:
            candidates[row.condition].append(row)
    for pool in candidates.values():
        pool.sort(key=lambda row: (-row.score, row.video))

    def chosen(row: ClipRow) -> tuple[str, ...]:
        pool = candidates[row.condition]
        if rules.choice == "random":
            # One more than asked for, in case the row itself is drawn.
            rng = seeded(rules.seed, "list", row.video)
            pool = rng.sample(pool, min(len(pool), rules.references + 1))
        others = [other.video for other in pool[: rules.references + 1] if other is not row]
        return tuple(others[: rules.references])

    return tuple(replace(row, references=chosen(row)) for row in rows)


def _drop_duplicates(
    clips: list[InspectedClip], rules: BuildRules, dropped: list[DroppedClip]
) -> list[InspectedClip]:
    if rules.duplicates is None:
        return clips
    repeats = find_duplicates([clip.signature for clip in clips], distance=rules.duplicates)
    for index, first in repeats.items():
        clip, kept = clips[index], clips[first]
        what = "the same file as" if clip.sha256 == kept.sha256 else "looks the same as"
        dropped.append(DroppedClip(clip.video, f"duplicate: {what} {kept.video}"))
    return [clip for index, clip in enumerate(clips) if index not in repeats]


def _each(
    clips: list[InspectedClip],
    work: Callable[[InspectedClip], _Value],
    what: str,
    progress: Progress,
    dropped: list[DroppedClip],
) -> dict[str, _Value]:
    """Results for each clip by path; a clip for which the work fails is dropped."""
    results: dict[str, _Value] = {}
    for done, clip in enumerate(clips, start=1):
        try:
            results[clip.video] = work(clip)
        except ValueError as error:
            dropped.append(DroppedClip(clip.video, f"{what}: {error}"))
        progress(what, done, len(clips))
    return results
