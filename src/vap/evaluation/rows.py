"""What a run records: a row for each video and for each score."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from vap.evaluation.systems.base import Variant

VideoKey: TypeAlias = tuple[str, str, int, Variant]
ScoreKey: TypeAlias = tuple[str, str, int, str]


@dataclass(frozen=True, slots=True)
class VideoRow:
    """A video, or why there is none.

    Attributes:
        system: Name of the system.
        case: Name of the case.
        seed: Of the noise.
        variant: Which reference it was made with.
        identity: Hash of all that decides the video; of another one, it is made again.
        file: Relative to the run's folder.
        sha256: Of the file, or of the names and bytes of a folder's frames; None without a video.
        seconds: Time to make it.
        cost: In the unit of the service.
        error: Why there is no video.
        details: What the system adds.
    """

    system: str
    case: str
    seed: int
    variant: Variant
    identity: str
    file: str
    sha256: str | None = None
    seconds: float = 0.0
    cost: float = 0.0
    error: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> VideoKey:
        """Which video."""
        return self.system, self.case, self.seed, self.variant


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """A score, or why there is none.

    Attributes:
        system: Name of the system.
        case: Name of the case.
        seed: Of the noise.
        metric: Name of the metric.
        identity: Hash of all that decides the score but the video.
        sha256: Of the video; of all videos, where the metric compares several.
        value: The score.
        error: Why there is none.
        details: What the metric adds.
    """

    system: str
    case: str
    seed: int
    metric: str
    identity: str
    sha256: str
    value: float | None = None
    error: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> ScoreKey:
        """Which score."""
        return self.system, self.case, self.seed, self.metric


def scored_videos(
    videos: Mapping[Any, VideoRow], key: VideoKey, others: Sequence[Variant]
) -> dict[Variant, VideoRow]:
    """The videos that a score of the own video ``key`` and its other variants is of."""
    variants: tuple[Variant, ...] = ("own", *others)
    found = {variant: videos.get((*key[:3], variant)) for variant in variants}
    return {variant: row for variant, row in found.items() if row and row.sha256 is not None}


def hash_of_videos(rows: Mapping[Variant, VideoRow]) -> str:
    """The hash of a video or, of several, one of all their hashes."""
    hashes = [row.sha256 or "" for row in rows.values()]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()
