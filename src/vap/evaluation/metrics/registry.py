"""Kinds of metrics, and ready-made ones."""

from __future__ import annotations

from pathlib import Path

from vap.evaluation.metrics.base import Metric
from vap.evaluation.registry import Registry

_HERE = "vap.evaluation.metrics"

METRICS: Registry[Metric] = Registry(
    "metric",
    {
        "gap": f"{_HERE}.gap:Gap",
        "recognized": f"{_HERE}.recognized:Recognized",
        "first-frame": f"{_HERE}.psnr:FirstFrame",
        "clip-score": f"{_HERE}.clip_score:ClipScore",
        "motion-smoothness": f"{_HERE}.motion_smoothness:MotionSmoothness",
        "dynamic-degree": f"{_HERE}.dynamic_degree:DynamicDegree",
        "aesthetic": f"{_HERE}.aesthetic:Aesthetic",
        "identity": f"{_HERE}.identity:Identity",
        "alignment": f"{_HERE}.judged:Alignment",
        "occurrence": f"{_HERE}.judged:Occurrence",
        "effect-fidelity": f"{_HERE}.judged:EffectFidelity",
        "content-leakage": f"{_HERE}.judged:ContentLeakage",
        "reference-use": f"{_HERE}.reference_use:ReferenceUse",
    },
    (Path(__file__).parent / "configs",),
)
