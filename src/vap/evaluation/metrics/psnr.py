"""Peak signal-to-noise ratio of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vap.evaluation.metrics.base import Metric, Sample, Value

EXACT = 60.0
"""What equal pictures count as, in dB: just above what rounding to 8 bits leaves (58.9)."""


def psnr(picture: NDArray[np.floating[Any]], truth: NDArray[np.floating[Any]]) -> float:
    """Peak signal-to-noise ratio in dB, at most :data:`EXACT`."""
    if picture.shape != truth.shape:
        raise ValueError(f"The shapes {picture.shape} and {truth.shape} differ.")
    error = float(np.square(picture.astype(np.float64) - truth.astype(np.float64)).mean())
    return min(EXACT, -10 * float(np.log10(error))) if error > 0 else EXACT


class FirstFrame(Metric):
    """PSNR of the first frame to the image, in dB; the image is brought to the video's size."""

    kind: ClassVar[str] = "first-frame"
    digits: ClassVar[int] = 1

    def identity(self) -> Mapping[str, Any]:
        """Return what equal pictures count as."""
        return {"kind": self.kind, "exact": EXACT}

    def score(self, sample: Sample) -> Value:
        """Compare the first frame with the image."""
        from vap.media import read_clip, read_image
        from vap.media.pixels import resize

        frame = read_clip(sample.video, max_frames=1).frames[0]
        image = resize(np.asarray(read_image(sample.case.image)), frame.shape[:2])
        return Value(psnr(frame / np.float64(255), image / np.float64(255)))
