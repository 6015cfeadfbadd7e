"""The protocol of a metric: a video in, a number out, and numbers put together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from vap.evaluation.case import Case
from vap.evaluation.systems.base import Variant


@dataclass(frozen=True, slots=True)
class Sample:
    """A video to score.

    Attributes:
        case: What was asked for.
        system: Who made it.
        seed: Of the noise.
        videos: The video by variant; those with another reference are there where the metric asks
            for them with ``variants``.
        swapped_reference: The reference that the video ``swapped`` was made with; None without it.
    """

    case: Case
    system: str
    seed: int
    videos: Mapping[Variant, Path]
    swapped_reference: Path | None = None

    @property
    def video(self) -> Path:
        """The video that was made with the case's own reference."""
        return self.videos["own"]


@dataclass(frozen=True, slots=True)
class Value:
    """A score.

    Attributes:
        value: The number.
        details: What explains it, such as the reason that a judge gave. JSON values.
    """

    value: float
    details: Mapping[str, Any] = field(default_factory=dict)


class Metric(BaseModel, ABC):
    """A metric with its settings; a subclass for each kind.

    Attributes:
        name: Unique in a run; the heading of its column unless there is a title.
        title: The heading of its column.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: ClassVar[str]
    """What configs call the class, such as ``clip-score``."""
    variants: ClassVar[tuple[Variant, ...]] = ()
    """Videos with another reference that the metric needs of systems that read references."""
    bounds: ClassVar[tuple[str, ...]] = ()
    """Kinds of systems whose scores ``combine`` needs for the same cases."""
    digits: ClassVar[int] = 2
    """Digits after the point in tables."""
    lower_is_better: ClassVar[bool] = False

    name: str
    title: str = ""

    def check(self) -> None:
        """Refuse where something is missing: weights, a key, an extra. The table shows dashes.

        Raises:
            ValueError: What is missing and how to give it.
        """

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """Return all that decides the scores: settings, hashes of weights, versions.

        JSON values. A score of another identity is computed again.
        """

    def applies(self, sample: Sample) -> bool:
        """Whether this video can have a score: a metric may need a truth or a caption."""
        del sample
        return True

    @abstractmethod
    def score(self, sample: Sample) -> Value:
        """Score one video.

        Raises:
            ValueError: If it cannot be scored; the table then shows a dash for it.
        """

    def combine(
        self, values: NDArray[np.float64], bounds: Mapping[str, NDArray[np.float64]]
    ) -> float:
        """Put the scores ``[N]`` of a system together: their mean, unless the metric differs.

        Args:
            values: Scores of the system's cases.
            bounds: Scores of the systems of ``bounds`` by kind, for the same cases.
        """
        del bounds
        return float(np.mean(values))
