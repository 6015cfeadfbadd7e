"""The rows of VAP-Data: one target clip a row, and one benchmark case a row.

Column names are those of the published ``vap_data.csv`` and ``benchmark/benchmark.csv``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

VIDEO, REFERENCES, CAPTION = "video_paths", "ref_video_paths", "tar_video_caption"
CONDITION, SPLIT, SCORE, VALID = "kind", "split", "reference_alignment_score", "_valid"
CLIP_COLUMNS = (VIDEO, REFERENCES, CAPTION, CONDITION, SPLIT, SCORE)

REFERENCE, REFERENCE_CAPTION = "ref_video_path", "ref_video_caption"
BENCHMARK_COLUMNS = (VIDEO, REFERENCE, CAPTION, REFERENCE_CAPTION)

MAX_SCORE = 100.0
MAX_REFERENCES = 10
SCORE_BINS = 10
TRAIN = "train"
KNOWN_SPLITS = frozenset({TRAIN, "val", "validation", "test"})

_SHOWN = 5  # faults that a refusal spells out

_SKIP = (
    'Correct them, or leave the faulty rows out with --on-error skip (on_error="skip" in Python).'
)

OnError = Literal["skip", "refuse"]
ReferenceChoice = Literal["random", "best"]
# Of VAP-Synth. The place of a split here is part of every seed: append only.
SynthSplit = Literal["train", "seen", "heldout", "unknown", "backbone"]


@dataclass(frozen=True, slots=True)
class ClipRow:
    """A target clip of the dataset.

    Attributes:
        video: Path relative to the dataset's root, ``/``-separated; the clip's identity.
        references: Paths of clips of the same condition, best effort: they may be gone.
        caption: Long caption: scene, subject and effect.
        condition: The semantic condition (column ``kind``).
        split: ``"train"`` or another split.
        score: 0 to 100, how well the clip shows its condition, by a judge.
        valid: Value of the optional column ``_valid``; a value ≤ 0 takes the clip out of use.
        extras: Cells of columns that VAP does not know, in the order of ``Table.extra_columns``:
            text from CSV, any value from Parquet.
        number: 1-based row of the source table, the header not counted; 0 for a made row.
    """

    video: str
    references: tuple[str, ...]
    caption: str
    condition: str
    split: str
    score: float
    valid: float | None = None
    extras: tuple[object, ...] = field(default=(), hash=False)
    number: int = field(default=0, compare=False)

    @property
    def usable(self) -> bool:
        """Whether ``_valid`` leaves the clip in use."""
        return self.valid is None or self.valid > 0


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """A benchmark case: the first frame of ``video`` is animated with the meaning of ``reference``.

    Attributes:
        video: Path of the target clip; its first frame is the input image.
        reference: Path of the reference video.
        caption: Caption of the target.
        reference_caption: Caption of the reference.
        number: 1-based row of the source table, the header not counted; 0 for a made row.
    """

    video: str
    reference: str
    caption: str
    reference_caption: str
    number: int = field(default=0, compare=False)


def score_bin(score: float) -> int:
    """Bin of width 10 that a score from 0 to 100 falls in, 0 to 9; the last one takes 100 in."""
    return min(int(score * SCORE_BINS // MAX_SCORE), SCORE_BINS - 1)


class ProblemKind(StrEnum):
    """What can be wrong with a row."""

    WRONG_COLUMNS = "wrong-columns"
    MISSING_VALUE = "missing-value"
    BAD_TEXT = "bad-text"
    BAD_JSON = "bad-json"
    BAD_PATH = "bad-path"
    BAD_SCORE = "bad-score"
    BAD_VALID = "bad-valid"
    DUPLICATE_PATH = "duplicate-path"
    UNKNOWN_SPLIT = "unknown-split"
    MISSING_FILE = "missing-file"
    SELF_REFERENCE = "self-reference"
    UNKNOWN_REFERENCE = "unknown-reference"
    OTHER_CONDITION = "other-condition"


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault of one row."""

    row: int  # 1-based, the header not counted
    kind: ProblemKind
    message: str
    drops_row: bool = True  # else only the reference that the message names is lost

    def __str__(self) -> str:
        return f"row {self.row}: {self.kind}: {self.message}"


class TableError(ValueError):
    """A table that cannot be read, or that is refused for its faults."""

    def __init__(self, message: str, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


def refuse(source: str, problems: tuple[Problem, ...], advice: str = _SKIP) -> TableError:
    """The error for a table with invalid rows: the first few, and what to do."""
    lines = [f"  {problem}" for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"  … and {len(problems) - _SHOWN} more")
    shown = "\n".join(lines)
    return TableError(f"{source} has {len(problems)} faults:\n{shown}\n{advice}", problems)
