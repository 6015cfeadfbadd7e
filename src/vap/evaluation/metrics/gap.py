"""*Gap closed*: how much of the true change a video makes.

It compares three errors over the pixels that the true video changes: of the first frame repeated
(0), of the autoencoder's reconstruction of the truth (1), and of the generated video.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vap.evaluation.metrics.base import Metric, Sample, Value

Video = NDArray[np.floating[Any]]

_CHANGED = 0.08  # of the range: below it lies what an encoder leaves, not what happens


def changed_pixels(truth: Video) -> NDArray[np.bool_]:
    """Which pixels differ from the first frame.

    Args:
        truth: Video ``[T, H, W, 3]`` in 0 to 1.

    Returns:
        ``[T, H, W]``: whether any channel differs by more than 0.08.
    """
    return np.abs(truth - truth[:1]).max(axis=-1) > _CHANGED


def changed_error(video: Video, truth: Video) -> float:
    """Mean squared error over the pixels that the truth changes; 0 if it changes none.

    Args:
        video: ``[T, H, W, 3]`` in 0 to 1.
        truth: ``[T, H, W, 3]`` in 0 to 1.
    """
    if video.shape != truth.shape:
        raise ValueError(
            f"The video is {video.shape}, the truth {truth.shape}; they must have one shape."
        )
    changed = changed_pixels(truth)
    if not changed.any():
        return 0.0
    difference = video[changed].astype(np.float64) - truth[changed].astype(np.float64)
    return float(np.square(difference).mean())


def still(truth: Video) -> Video:
    """The first frame repeated."""
    return np.broadcast_to(truth[:1], truth.shape)


def gap_closed(error: float, static_error: float, best_error: float) -> float | None:
    """Share of the way from a still to the best that the autoencoder can show."""
    room = static_error - best_error
    return (static_error - error) / room if room > 0 else None


class Gap(Metric):
    """Gap closed; the score of a video is its error, of values in 0 to 1."""

    kind: ClassVar[str] = "gap"
    bounds: ClassVar[tuple[str, ...]] = ("static", "autoencoder")

    def identity(self) -> Mapping[str, Any]:
        """Return what counts as a change."""
        return {"kind": self.kind, "changed": _CHANGED}

    def applies(self, sample: Sample) -> bool:
        """Whether there is a lossless truth."""
        return sample.case.truth is not None and sample.case.truth.is_dir()

    def score(self, sample: Sample) -> Value:
        """Compute the error over the pixels that the truth changes."""
        from vap.media import read_clip

        assert sample.case.truth is not None, "applies() asks for it"
        truth = read_clip(sample.case.truth).frames / np.float64(255)
        video = read_clip(sample.video).frames / np.float64(255)
        return Value(changed_error(video, truth))

    def combine(
        self, values: NDArray[np.float64], bounds: Mapping[str, NDArray[np.float64]]
    ) -> float:
        """Divide mean errors: a mean of ratios would follow the cases that change least."""
        static, best = (float(np.mean(bounds[name])) for name in self.bounds)
        closed = gap_closed(float(np.mean(values)), static, best)
        return float("nan") if closed is None else closed
