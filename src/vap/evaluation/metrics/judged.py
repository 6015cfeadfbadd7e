"""Metrics that a judge answers: alignment, occurrence, effect fidelity, content leakage."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from vap.evaluation.judges.rubric import DEFAULT, Rubric, read_rubric
from vap.evaluation.metrics.base import Metric, Sample, Value
from vap.vision.choose import AnyModel
from vap.vision.gemini import GeminiModel
from vap.vision.model import Part

_TASK = """\
You compare two videos. One is a reference that shows a certain effect; the other was generated to \
show the same effect with another subject in another scene, starting from a given picture. The \
reference's effect is called "{condition}"."""
_FORM = "Answer in JSON: first the reason in one or two sentences, then the score."


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str


class Percent(_Answer):
    """An answer from 0 to 100."""

    score: float = Field(ge=0, le=100)


class Share(_Answer):
    """An answer from 0 to 1."""

    score: float = Field(ge=0, le=1)


class JudgedMetric(Metric):
    """A question to a judge about the reference and the generated video.

    Attributes:
        judge: Who is asked.
        repeats: How often; the order of the videos alternates, and the scores are averaged.
    """

    form: ClassVar[type[Percent | Share]] = Share

    judge: AnyModel = GeminiModel()
    repeats: PositiveInt = 2

    def check(self) -> None:
        """See that the judge can be asked."""
        try:
            self.judge.check()
        except ValueError as error:
            raise ValueError(
                f"{error} Another judge is named in the metric's YAML file (judge: {{kind: "
                "openai, model: …}, or kind: local)."
            ) from error

    def identity(self) -> Mapping[str, Any]:
        """The judge, the question and how often it is asked."""
        return {
            "kind": self.kind,
            "judge": self.judge.identity(),
            "repeats": self.repeats,
            "question": self.question("CONDITION"),
        }

    @abstractmethod
    def question(self, condition: str) -> str:
        """What is asked about a condition."""

    def score(self, sample: Sample) -> Value:
        """Ask, with the reference first and last in turn."""
        answers = [
            self.judge.ask(self._parts(sample, swapped=trial % 2 == 1), self.form, trial // 2)
            for trial in range(self.repeats)
        ]
        scores = [answer.score for answer in answers]
        reasons = [answer.reason for answer in answers]
        return Value(float(np.mean(scores)), {"scores": scores, "reasons": reasons})

    def _parts(self, sample: Sample, *, swapped: bool) -> list[Part]:
        case = sample.case
        shown: list[list[Part]] = [
            ["The reference video:", case.reference],
            ["The generated video:", sample.video],
        ]
        first, second = reversed(shown) if swapped else shown
        task = _TASK.format(condition=case.condition)
        return [task, *first, *second, self.question(case.condition), _FORM]


class Alignment(JudgedMetric):
    """Whether the video has the semantics of its reference, 0 to 100, by a rubric.

    Attributes:
        rubric: YAML file with a text for each condition, see
            :mod:`vap.evaluation.judges.rubric`.
    """

    kind: ClassVar[str] = "alignment"
    form: ClassVar[type[Percent | Share]] = Percent

    rubric: Path = DEFAULT

    def check(self) -> None:
        """See that the rubric can be read and the judge be asked."""
        _rubric(self.rubric)
        super().check()

    def identity(self) -> Mapping[str, Any]:
        """Also the rubric."""
        rubric = _rubric(self.rubric)
        read = {"version": rubric.version, "sha256": rubric.sha256}
        return {**super().identity(), "rubric": read}

    def question(self, condition: str) -> str:
        """The rubric's text."""
        return (
            "Does the generated video have the semantics of the reference? Score it from 0 to 100 "
            f"by this rubric:\n{_rubric(self.rubric).of(condition)}"
        )


class Occurrence(JudgedMetric):
    """Whether the effect happens at all, 0 to 1 (VFXMaster)."""

    kind: ClassVar[str] = "occurrence"

    def question(self, condition: str) -> str:
        """Ask whether it happens."""
        del condition
        return (
            "Does the effect happen at all in the generated video, however well or badly? Score 1 "
            "if it clearly happens, 0 if it does not, and between if one cannot be sure."
        )


class EffectFidelity(JudgedMetric):
    """Whether it is the reference's effect, 0 to 1 (VFXMaster)."""

    kind: ClassVar[str] = "effect-fidelity"

    def question(self, condition: str) -> str:
        """Ask how close the effect is."""
        del condition
        return (
            "How close is the effect in the generated video to the reference's: its look, its "
            "motion, its course in time? Score 1 if it is the same effect in every respect, 0 if "
            "it is another one or there is none."
        )


class ContentLeakage(JudgedMetric):
    """Whether the reference's content stayed out, 0 to 1; higher is less leakage (VFXMaster)."""

    kind: ClassVar[str] = "content-leakage"

    def question(self, condition: str) -> str:
        """Ask what else was taken over."""
        del condition
        return (
            "Did anything of the reference besides its effect get into the generated video: its "
            "subject, its scene, its background, its colors where they are not the effect? Score "
            "1 if nothing did, 0 if the generated video shows the reference's subject or scene."
        )


@lru_cache(maxsize=4)
def _rubric(path: Path) -> Rubric:
    return read_rubric(path)
