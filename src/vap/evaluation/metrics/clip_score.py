"""CLIP score: how well the frames fit the caption."""

from __future__ import annotations

from typing import ClassVar

from vap.evaluation.metrics.base import Sample, Value
from vap.evaluation.metrics.embeddings import EmbeddingMetric
from vap.media import read_clip


class ClipScore(EmbeddingMetric):
    """100 × the mean over frames of the cosine of image and caption embedding.

    The default model is OpenAI's CLIP ViT-B/32 (MIT license). Captions are cut at 77 tokens.
    """

    kind: ClassVar[str] = "clip-score"

    model: str = "openai/clip-vit-base-patch32"

    def applies(self, sample: Sample) -> bool:
        """Whether the case has a caption."""
        return bool(sample.case.prompt)

    def score(self, sample: Sample) -> Value:
        """Compare each frame with the caption."""
        encoder = self.encoder()
        if encoder.read is None:
            raise ValueError(f"{self.model} embeds no captions; give a CLIP model.")
        images = encoder.images(read_clip(sample.video).frames)
        cosines = images @ encoder.caption(sample.case.prompt)
        return Value(100 * float(cosines.mean()))
