"""Scores of one video, and what they come to over a split or a condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vap.evaluation.metrics.gap import Video, changed_error, gap_closed
from vap.evaluation.metrics.psnr import psnr
from vap.evaluation.metrics.recognized import RECOGNIZER
from vap.media.pixels import to_uint8
from vap.mini.evaluation.cases import Case
from vap.synth import Split
from vap.synth.classifier import Recognizer, load_recognizer, recognize

_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Score:
    """What a system made of a case.

    Attributes:
        system: Its name.
        weights: Hash of the weights that made it.
        split: The case's split.
        index: The case's place in it.
        condition: What the reference shows.
        error: Mean squared error over the pixels that the truth changes, of values in 0 to 1.
        recognized: The condition that the classifier sees.
        first_frame: PSNR of the first frame to the image that was given, in dB.
        seconds: Time to make the video, its share of a batch.
    """

    system: str
    weights: str
    split: Split
    index: int
    condition: str
    error: float
    recognized: str
    first_frame: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Scores of a system over some cases.

    Attributes:
        pairs: How many.
        gap_closed: (E_static − E) / (E_static − E_VAE) of the mean errors E over the cases: a mean
            of ratios would be ruled by the cases in which next to nothing changes. None if the
            autoencoder is no better than a still.
        interval: Where 95 % of its bootstrap resamples lie.
        recognized: Share of the videos in which the classifier sees their reference's condition.
        first_frame: Mean PSNR of the first frame to the image, in dB.
        seconds: Mean time to make a video.
    """

    pairs: int
    gap_closed: float | None
    interval: tuple[float, float] | None
    recognized: float
    first_frame: float
    seconds: float


class Scorer:
    """Scores videos."""

    def __init__(self, recognizer: Recognizer | None = None) -> None:
        self._recognizer = recognizer or load_recognizer(RECOGNIZER)

    def score(
        self,
        system: str,
        cases: Sequence[Case],
        videos: Sequence[Video],
        *,
        seconds: float,
        weights: str,
    ) -> list[Score]:
        """Score what a system made of some cases.

        Args:
            system: Its name.
            cases: What it was asked for.
            videos: What it made, ``[T, H, W, 3]`` in 0 to 1.
            seconds: Time that all of them took.
            weights: Hash of the system's weights.
        """
        for case, video in zip(cases, videos, strict=True):
            _check_finite(system, case, video)
        pixels = np.stack([to_uint8(system, video) for video in videos])
        seen = [next(iter(shares)) for shares in recognize(self._recognizer, pixels)]
        return [
            Score(
                system=system,
                weights=weights,
                split=case.spec.split,
                index=case.spec.index,
                condition=case.spec.condition,
                error=changed_error(video, case.truth),
                recognized=condition,
                # Both as a player would show them.
                first_frame=psnr(frames[0] / np.float64(255), case.truth[0]),
                seconds=seconds / len(cases),
            )
            for case, video, frames, condition in zip(cases, videos, pixels, seen, strict=True)
        ]


def _check_finite(system: str, case: Case, video: Video) -> None:
    if not np.isfinite(video).all():
        raise ValueError(
            f"What {system} made of {case.spec.name} ({case.spec.condition}) has values that are "
            "no numbers (NaN or infinity), so it has no score. Its weights, or the guidance that "
            "was asked for, are not usable."
        )


def summarize(scores: Sequence[Score], static: Sequence[Score], best: Sequence[Score]) -> Summary:
    """Put the scores of some cases together."""
    errors = np.stack([_errors_of(scores, bound) for bound in (scores, static, best)])
    return Summary(
        pairs=len(scores),
        gap_closed=gap_closed(*errors.mean(axis=1)),
        interval=_interval(errors),
        recognized=float(np.mean([score.recognized == score.condition for score in scores])),
        first_frame=float(np.mean([score.first_frame for score in scores])),
        seconds=float(np.mean([score.seconds for score in scores])),
    )


def _errors_of(scores: Sequence[Score], bound: Sequence[Score]) -> np.ndarray:
    """Errors of ``bound`` in the cases of ``scores``, ``[N]``."""
    by_case = {(score.split, score.index): score.error for score in bound}
    return np.array([by_case[score.split, score.index] for score in scores], np.float64)


def _interval(errors: np.ndarray) -> tuple[float, float] | None:
    """Bootstrap over cases: errors of the system, the still and the best, ``[3, N]``."""
    count = errors.shape[1]
    drawn = np.random.default_rng(0).integers(0, count, (_RESAMPLES, count))
    own, static, best = errors[:, drawn].mean(axis=2)
    room = static - best
    if (room <= 0).any():
        return None
    low, high = np.quantile((static - own) / room, [0.025, 0.975])
    return float(low), float(high)
