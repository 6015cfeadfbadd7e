"""What the answers say: preference rates, strengths, agreement."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vap.evaluation.study.store import NONE, Answer
from vap.extras import require
from vap.files.atomic import atomic_file

QUESTIONS = ("semantics", "quality")
_RESAMPLES = 1000
_FEWEST_PASSED = 0.5
# Pulls strengths together where few picks tell them apart: one picked never would be 0.
_PRIOR = 0.1
_COLUMNS = ("rater", "case", "seed", "is_check", "passed", "shown", *QUESTIONS, "seconds")


@dataclass(frozen=True, slots=True)
class Preference:
    """How often a system was picked.

    Attributes:
        system: Its name.
        question: ``semantics``, ``quality`` or ``both``.
        picks: How often it was picked.
        rate: Share of the picks of a system; the rates of all add up to 1.
        interval: Where 95 % of the bootstrap resamples of the cases lie.
        strength: Probability that it is picked among all systems, by a Bradley–Terry–Luce model.
    """

    system: str
    question: str
    picks: int
    rate: float
    interval: tuple[float, float]
    strength: float


@dataclass(frozen=True, slots=True)
class StudyResults:
    """What a study came to.

    Attributes:
        preferences: By question and system.
        agreement: Krippendorff's alpha by question; None where no two raters share an item.
        raters: Raters whose answers count.
        excluded: Raters who failed more than half of their attention checks.
        answers: Answers that count.
        none: Share of the picks that were for none, by question.
    """

    preferences: tuple[Preference, ...]
    agreement: dict[str, float | None]
    raters: int
    excluded: int
    answers: int
    none: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def analyze(answers: Sequence[Answer]) -> StudyResults:
    """Put the answers of a study together.

    Raises:
        ValueError: If no answer counts.
    """
    careless = _careless(answers)
    counted = [each for each in answers if not each.is_check and each.rater not in careless]
    if not counted:
        raise ValueError("No answers count yet. Send raters the address of the study.")
    systems = sorted({system for each in counted for system in each.shown})
    preferences = [
        preference
        for question, names in {**{name: (name,) for name in QUESTIONS}, "both": QUESTIONS}.items()
        for preference in _preferences(counted, systems, question, names)
    ]
    return StudyResults(
        tuple(preferences),
        {question: _agreement(counted, question) for question in QUESTIONS},
        len({each.rater for each in counted}),
        len(careless),
        len(counted),
        {
            question: float(np.mean([getattr(each, question) == NONE for each in counted]))
            for question in QUESTIONS
        },
    )


def write_csv(answers: Sequence[Answer], path: Path) -> Path:
    """Write one line for each answer, attention checks among them."""
    with (
        atomic_file(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for each in answers:
            values = {**asdict(each), "shown": " ".join(each.shown)}
            writer.writerow([values[name] for name in _COLUMNS])
    return path


def _careless(answers: Sequence[Answer]) -> set[str]:
    """Raters who failed more than half of their checks."""
    checks = defaultdict(list)
    for each in answers:
        if each.is_check:
            checks[each.rater].append(each.passed)
    return {rater for rater, passed in checks.items() if np.mean(passed) < _FEWEST_PASSED}


def _preferences(
    answers: Sequence[Answer], systems: Sequence[str], question: str, names: Sequence[str]
) -> list[Preference]:
    """Rates over all cases, and of resamples of the cases."""
    cases = sorted({each.case for each in answers})
    counts = np.zeros((len(cases), len(systems)))
    for each in answers:
        for name in names:
            if (pick := getattr(each, name)) != NONE:
                counts[cases.index(each.case), systems.index(pick)] += 1
    picks = counts.sum(axis=0)
    drawn = np.random.default_rng(0).integers(0, len(cases), (_RESAMPLES, len(cases)))
    resampled = _rates(counts[drawn].sum(axis=1))
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    strengths = _strengths(answers, systems, names)
    return [
        Preference(system, question, int(picks[i]), rate, (float(low[i]), float(high[i])), strong)
        for i, (system, rate, strong) in enumerate(
            zip(systems, _rates(picks).tolist(), strengths, strict=True)
        )
    ]


def _rates(picks: np.ndarray) -> np.ndarray:
    """Shares along the last axis; even where nothing was picked."""
    total = picks.sum(axis=-1, keepdims=True)
    even = np.full_like(picks, 1 / picks.shape[-1])
    return np.divide(picks, total, out=even, where=total > 0)


def _strengths(
    answers: Sequence[Answer], systems: Sequence[str], names: Sequence[str]
) -> list[float]:
    """Luce's choice model, which is Bradley–Terry for picks out of several."""
    choix = require("choix", extra="study", purpose="compare systems by picks")
    place = {system: number for number, system in enumerate(systems)}
    data = [
        (place[pick], tuple(place[other] for other in each.shown if other != pick))
        for each in answers
        for name in names
        if (pick := getattr(each, name)) != NONE
    ]
    if not data:
        return [1 / len(systems)] * len(systems)
    found = np.exp(choix.ilsr_top1(len(systems), data, alpha=_PRIOR))
    return [float(value) for value in found / found.sum()]


def _agreement(answers: Sequence[Answer], question: str) -> float | None:
    """Krippendorff's alpha of nominal picks."""
    by_item = defaultdict(list)
    for each in answers:
        by_item[each.item].append(each)
    shared = [each for group in by_item.values() if len(group) > 1 for each in group]
    if not shared:
        return None
    if all(getattr(each, question) == getattr(shared[0], question) for each in shared):
        return 1.0
    pandas = require("pandas", extra="study", purpose="measure the agreement of raters")
    metrics = require(
        "crowdkit.metrics.data", extra="study", purpose="measure the agreement of raters"
    )
    frame = pandas.DataFrame(
        {
            "task": [each.item for each in shared],
            "worker": [each.rater for each in shared],
            "label": [getattr(each, question) or "none" for each in shared],
        }
    )
    return float(metrics.alpha_krippendorff(frame))
