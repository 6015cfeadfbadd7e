"""*Recognized*: whether a classifier of VAP-Synth sees the effect of the reference."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vap.evaluation.metrics.base import Metric, Sample, Value

if TYPE_CHECKING:
    from vap.synth.classifier import Recognizer

RECOGNIZER = Path(__file__).parent / "recognizer.safetensors"
"""Weights of the classifier, written by ``python benchmarks/synth.py recognize --out``."""


class Recognized(Metric):
    """Share of videos, in percent, in which the reference's condition ranks first among 100."""

    kind: ClassVar[str] = "recognized"
    digits: ClassVar[int] = 0

    def identity(self) -> Mapping[str, Any]:
        """Return the classifier's weights."""
        from vap.media.files import hash_file

        return {"kind": self.kind, "weights": hash_file(RECOGNIZER)}

    def applies(self, sample: Sample) -> bool:
        """Whether the condition is one of VAP-Synth."""
        from vap.synth import CONDITIONS

        return sample.case.condition in CONDITIONS

    def score(self, sample: Sample) -> Value:
        """Give 100 where the condition ranks first, else 0."""
        from vap.media import read_clip
        from vap.synth.classifier import recognize

        frames = read_clip(sample.video).frames
        (shares,) = recognize(_recognizer(), frames[None])
        seen = next(iter(shares))
        return Value(100.0 * (seen == sample.case.condition), {"seen": seen})


@cache
def _recognizer() -> Recognizer:
    from vap.synth.classifier import load_recognizer

    return load_recognizer(RECOGNIZER)
