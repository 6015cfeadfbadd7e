"""Reference use: whether a system does what its reference shows, or would do it anyway."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vap.evaluation.metrics.base import Metric, Sample, Value
from vap.evaluation.metrics.embeddings import encoder_folder, load_encoder
from vap.evaluation.systems.base import Variant
from vap.files.weights import component_hash
from vap.loading.pipeline import default_device
from vap.media.change import agreement, change_of_frames, reference_use, sampled_frames

Features = Mapping[str, NDArray[np.floating]]
"""What changes in a clip, by kind of change."""


class ReferenceUse(Metric):
    """How much closer a result is to its own reference's effect than to a swapped one's, −1 to 1.

    The same case and seed are made with the own reference (o) and with one of another condition
    (s). With a(x, r) from 0 to 1 for how alike the changes of two clips are, and the references r
    and q of o and s, the score is ½ · (a(o, r) − a(s, r) + a(s, q) − a(o, q)): 0 if the reference
    makes no difference, or none that leads toward it; at most 1. It is the mean over two kinds of
    change, of motion and of appearance, see :class:`vap.media.change.Change`. Systems that read no
    reference score 0.

    The details compare with no reference (n) too: a(o, r) − a(n, r).

    Attributes:
        model: CLIP, DINO or DINOv2 (folder or Hub id), to compare the change of its embeddings in
            place of that of colors.
        revision: Commit or branch of the Hub id.
        device: Where the model runs; by default the fastest here.
    """

    kind: ClassVar[str] = "reference-use"
    variants: ClassVar[tuple[Variant, ...]] = ("none", "swapped")
    digits: ClassVar[int] = 3

    model: str | None = None
    revision: str | None = None
    device: str | None = None

    def check(self) -> None:
        """See that flow can be computed and the model is here."""
        change_of_frames(np.zeros((17, 96, 96, 3), np.uint8))
        if self.model is not None:
            encoder_folder(self.model, self.revision)

    def identity(self) -> Mapping[str, Any]:
        """The features, and the hash of the model that makes them."""
        weights = None
        if self.model is not None:
            weights = component_hash(encoder_folder(self.model, self.revision))
        return {"kind": self.kind, "appearance": weights or "colors", "version": 1}

    def score(self, sample: Sample) -> Value:
        """Compare the videos with both references."""
        if "swapped" not in sample.videos:
            return Value(0.0, {"reads_reference": False})
        if sample.swapped_reference is None:
            raise ValueError(f"The swapped reference of {sample.case.name} is not known.")
        own, swapped = self.features(sample.video), self.features(sample.videos["swapped"])
        reference = self.features(sample.case.reference)
        other = self.features(sample.swapped_reference)
        parts = {
            kind: reference_use(own[kind], swapped[kind], reference[kind], other[kind])
            for kind in own
        }
        details: dict[str, Any] = {"parts": parts}
        if "none" in sample.videos:
            none = self.features(sample.videos["none"])
            details["against_none"] = {
                kind: agreement(own[kind], reference[kind]) - agreement(none[kind], reference[kind])
                for kind in own
            }
        return Value(float(np.mean(list(parts.values()))), details)

    def features(self, video: Path) -> Features:
        """What changes in a video: ``motion`` and ``appearance``."""
        frames = sampled_frames(video)
        change = change_of_frames(frames)
        if self.model is None:
            return {"motion": change.motion, "appearance": change.appearance}
        folder = encoder_folder(self.model, self.revision)
        embedded = load_encoder(folder, str(self.device or default_device())).images(frames).numpy()
        return {"motion": change.motion, "appearance": embedded[2::2] - embedded[:1]}
