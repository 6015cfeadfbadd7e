"""Alignment scores: how well a clip shows its condition, 0 to 100."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vap.data.captions import read_sidecar
from vap.data.clip_files import InspectedClip
from vap.data.rows import MAX_SCORE


class Judge(Protocol):
    """Scores a clip; a vision-language model that is asked about the effect fits here too."""

    def score(self, clip: InspectedClip, condition: Sequence[InspectedClip]) -> float:
        """Say how well a clip shows its condition."""
        ...


@dataclass(frozen=True, slots=True)
class ConstantJudge:
    """Gives every clip one score, for folders that are already checked."""

    value: float = MAX_SCORE

    def __post_init__(self) -> None:
        _checked(self.value, "the constant score")

    def score(self, clip: InspectedClip, condition: Sequence[InspectedClip]) -> float:  # noqa: ARG002  (the protocol's)
        """The constant."""
        return self.value


@dataclass(frozen=True, slots=True)
class SidecarJudge:
    """Reads the score of ``clip.mp4`` from ``clip.score`` beside it: a number from 0 to 100."""

    def score(self, clip: InspectedClip, condition: Sequence[InspectedClip]) -> float:  # noqa: ARG002  (the protocol's)
        """The number in the file."""
        text = read_sidecar(clip.path, ".score", "its score").strip()
        name = clip.path.with_suffix(".score").name
        try:
            value = float(text)
        except ValueError as error:
            raise ValueError(f"the score {text[:40]!r} in {name} is not a number") from error
        return _checked(value, f"the score in {name}")


@dataclass(frozen=True, slots=True)
class AgreementJudge:
    """Scores a clip by how much it changes in the way of the other clips of its condition.

    The clip's change a (``signature.ClipSignature.change``) is compared with each other clip's b:
    1 − |a − b| / (|a| + |b|), which is 1 for equal change, 0 for opposite change and for change
    against stillness. The score is 100 times the median over the others, so a few bad clips among
    them do not matter. It knows nothing of meaning: it finds clips in which the effect did not
    happen or happened elsewhere, and does not replace a judge that looks. A clip alone in its
    condition scores 0, as nothing shows what the condition is.
    """

    def score(self, clip: InspectedClip, condition: Sequence[InspectedClip]) -> float:
        """100 times the median agreement with the others."""
        others = [other.signature.change for other in condition if other is not clip]
        if not others:
            return 0.0
        own, theirs = clip.signature.change, np.stack(others)
        apart = np.linalg.norm(theirs - own, axis=1)
        reach = np.linalg.norm(theirs, axis=1) + np.linalg.norm(own)
        agreement = 1 - np.divide(apart, reach, out=np.zeros_like(apart), where=reach > 0)
        return round(float(np.clip(np.median(agreement), 0, 1)) * MAX_SCORE, 2)


def _checked(score: float, what: str) -> float:
    if not 0 <= score <= MAX_SCORE:
        raise ValueError(f"{what} is {score}; it must be from 0 to {MAX_SCORE:.0f}")
    return score
