"""Identity: how much of the input image's subject stays in the video."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from vap.evaluation.metrics.base import Sample, Value
from vap.evaluation.metrics.embeddings import EmbeddingMetric
from vap.media import read_clip, read_image
from vap.media.pixels import resize

_VBENCH = (0.4, 0.3, 0.3)


class Identity(EmbeddingMetric):
    """Similarity of the frames to the input image, × 100.

    The default model is DINOv2 (base, Apache 2.0); DINO and CLIP work too. An effect that changes
    the subject lowers it, as it should: compare systems, not effects.

    Attributes:
        formula: ``mean`` of the cosines of image and frames; or ``vbench``, the subject consistency
            of VBench-I2V: 0.4 × the largest cosine of image and frame, and 0.3 × the mean and
            0.3 × the smallest cosine of consecutive frames, none below 0.
    """

    kind: ClassVar[str] = "identity"

    model: str = "facebook/dinov2-base"
    formula: Literal["mean", "vbench"] = "mean"

    def score(self, sample: Sample) -> Value:
        """Compare each frame with the image, cut to the shape of the video."""
        frames = read_clip(sample.video).frames
        image = np.asarray(read_image(sample.case.image))
        first = resize(image, (frames.shape[1], frames.shape[2]), "cover")
        embedded = self.encoder().images(np.concatenate([first[None], frames]))
        similar = embedded[1:] @ embedded[0]
        if self.formula == "mean":
            return Value(100 * float(similar.mean()), {"first": float(similar[0])})
        return Value(100 * subject_consistency(similar, (embedded[1:-1] * embedded[2:]).sum(1)))


def subject_consistency(to_image: Tensor, consecutive: Tensor) -> float:
    """Combine cosines as VBench-I2V does.

    Args:
        to_image: Of the image and each frame ``[T]``.
        consecutive: Of each frame and the next ``[T − 1]``, T at least 2.
    """
    largest, mean, smallest = _VBENCH
    near, steps = to_image.clamp(min=0), consecutive.clamp(min=0)
    return float(largest * near.max() + mean * steps.mean() + smallest * steps.min())
