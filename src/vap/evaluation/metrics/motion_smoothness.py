"""Motion smoothness: how well frames can be predicted from their neighbors, as in VBench."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from vap.evaluation.flow import flow_model
from vap.evaluation.metrics.base import Metric, Sample, Value
from vap.extras import require
from vap.files.weights import sampled_digest
from vap.loading.pipeline import default_device
from vap.media import read_clip

RGB = NDArray[np.uint8]
Interpolator = Callable[[RGB, RGB], RGB]
"""The frame halfway between two frames ``[H, W, 3]``."""

_FEWEST = 3
_WHITE = 255.0


class MotionSmoothness(Metric):
    """100 × (255 − the mean difference of every other frame to its prediction) / 255.

    Numbers of different interpolators do not compare, so titles name them:

    - ``DIS``: flow of OpenCV (Apache 2.0); needs no weights.
    - ``RIFE``: version 4 of Practical-RIFE (MIT license).
    - ``AMT-S``: VBench's own. Its weights may not be used commercially (CC BY-NC 4.0).

    Attributes:
        interpolator: What predicts frames.
        weights: Of RIFE or AMT-S in safetensors, with the names of their releases.
        device: Where they run; by default the fastest here.
    """

    kind: ClassVar[str] = "motion-smoothness"

    interpolator: Literal["DIS", "RIFE", "AMT-S"] = "DIS"
    weights: Path | None = None
    device: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _titled(cls, settings: Any) -> Any:
        name = settings.get("interpolator", "DIS")
        return {"title": f"motion smoothness ({name})", **settings}

    def check(self) -> None:
        """See that frames can be predicted."""
        self._interpolator()

    def identity(self) -> Mapping[str, Any]:
        """The interpolator and the hash of its weights."""
        weights = None if self.weights is None else sampled_digest(self.weights).hex()
        return {"kind": self.kind, "interpolator": self.interpolator, "weights": weights}

    def score(self, sample: Sample) -> Value:
        """Predict every other frame."""
        return Value(100 * smoothness(read_clip(sample.video).frames, self._interpolator()))

    def _interpolator(self) -> Interpolator:
        if (self.weights is None) != (self.interpolator == "DIS"):
            raise ValueError(
                f"interpolator {self.interpolator} with weights {self.weights}: RIFE and AMT-S "
                "need weights: FILE in safetensors (docs/metrics.md says how to convert them), and "
                "DIS takes none."
            )
        if self.weights is None:
            return dis_interpolator()
        device = str(self.device or default_device())
        if self.interpolator == "RIFE":
            from vap.evaluation.metrics.rife import load_rife

            return load_rife(self.weights, device)
        from vap.evaluation.metrics.amt import load_amt

        return load_amt(self.weights, device)


def smoothness(frames: RGB, interpolate: Interpolator) -> float:
    """Score motion smoothness, 0 to 1.

    Args:
        frames: ``[T, H, W, 3]``, T at least 3.
        interpolate: Predicts a frame from the two beside it.
    """
    if len(frames) < _FEWEST:
        raise ValueError(f"The video has {len(frames)} frames; motion smoothness needs 3.")
    differences = [
        np.abs(frames[i + 1].astype(np.int16) - interpolate(frames[i], frames[i + 2])).mean()
        for i in range(0, len(frames) - 2, 2)
    ]
    return float((_WHITE - np.mean(differences)) / _WHITE)


def dis_interpolator() -> Interpolator:
    """Predict with DIS flow in both directions; each frame is warped halfway, the two averaged."""
    cv2 = require("cv2", extra="eval", purpose="predict frames")
    flow = flow_model()

    def halfway(first: RGB, second: RGB) -> RGB:
        # Halfway, the flow to both sides is about a quarter of the difference of the two flows.
        quarter = (flow(first, second) - flow(second, first)) / 4
        y, x = np.mgrid[: first.shape[0], : first.shape[1]].astype(np.float32)
        sides = [
            cv2.remap(
                frame.astype(np.float32),
                x + sign * quarter[..., 0],
                y + sign * quarter[..., 1],
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            for frame, sign in ((first, -1), (second, 1))
        ]
        return np.clip((sides[0] + sides[1]) / 2, 0, _WHITE).astype(np.uint8)

    return halfway
