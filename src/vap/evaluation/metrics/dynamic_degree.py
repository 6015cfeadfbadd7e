"""Dynamic degree: whether a video moves, as VBench decides it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from vap.evaluation.flow import FlowModel, flow_model, flow_name
from vap.evaluation.metrics.base import Metric, Sample, Value
from vap.files.weights import sampled_digest
from vap.loading.pipeline import default_device
from vap.media import read_clip

_LARGEST_SHARE = 0.05
_RATE = 8  # frames per second that are looked at
_FRAMES, _MOVING = 16, 4  # so many of the pairs must move
_SIDE, _LENGTH = 256, 6.0  # so far, in pixels


class DynamicDegree(Metric):
    """100 if a video moves, else 0; the score of a system is the percentage that move.

    VBench uses RAFT (large, trained on FlyingChairs and FlyingThings; BSD-3-Clause). Without its
    weights, OpenCV's DIS flow (Apache 2.0) takes its place, and the number is not VBench's.

    Attributes:
        weights: RAFT in safetensors, as torchvision names its parameters; needs torchvision.
        device: Where RAFT runs; by default the fastest here.
    """

    kind: ClassVar[str] = "dynamic-degree"
    digits: ClassVar[int] = 1

    weights: Path | None = None
    device: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _titled(cls, settings: Any) -> Any:
        """Name the flow in the title, as the two are not comparable."""
        return {"title": f"dynamic degree ({flow_name(settings.get('weights'))})", **settings}

    def check(self) -> None:
        """See that the flow can be computed."""
        self._flow()

    def identity(self) -> Mapping[str, Any]:
        """The flow and the hash of its weights."""
        weights = None if self.weights is None else sampled_digest(self.weights).hex()
        return {"kind": self.kind, "flow": flow_name(self.weights), "weights": weights}

    def score(self, sample: Sample) -> Value:
        """Measure the motion from frame to frame."""
        clip = read_clip(sample.video)
        sampled = clip.frames[:: max(1, round(clip.fps / _RATE))]
        motions = motions_of(sampled, self._flow())
        dynamic = is_dynamic(motions, sampled.shape[1], sampled.shape[2])
        return Value(100.0 * dynamic, {"motions": [round(motion, 3) for motion in motions]})

    def _flow(self) -> FlowModel:
        return flow_model(self.weights, str(self.device or default_device()))


def motions_of(frames: NDArray[np.uint8], flow: FlowModel) -> list[float]:
    """Mean length of the longest 5 % of the flow from each frame to the next, in pixels.

    Args:
        frames: ``[T, H, W, 3]``.
        flow: The model of flow.
    """
    return [_longest(flow(first, second)) for first, second in pairwise(frames)]


def is_dynamic(motions: list[float], height: int, width: int) -> bool:
    """Whether at least a quarter of the frames move by over 6 pixels at a side of 256."""
    threshold = _LENGTH * min(height, width) / _SIDE
    needed = round(_MOVING * (len(motions) + 1) / _FRAMES)
    # VBench needs none in videos of two frames, whose stills would then move.
    return sum(motion > threshold for motion in motions) >= max(1, needed)


def _longest(flow: NDArray[np.float32]) -> float:
    lengths = np.sort(np.linalg.norm(flow.astype(np.float64), axis=-1).ravel())
    return float(lengths[-max(1, int(len(lengths) * _LARGEST_SHARE)) :].mean())
