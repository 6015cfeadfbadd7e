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
    },
    (Path(__file__).parent / "configs",),
)
