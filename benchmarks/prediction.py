"""What the cost model expects of a run on this machine, to compare with what is measured."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.plan import Plan
from vap.acceleration.plan import MemoryPlan
from vap.cost.devices import MEASURED_EFFICIENCY, DeviceSpec, device_for_planning
from vap.cost.footprint import Video, traced_footprint
from vap.cost.model import PlannedModel
from vap.cost.prediction import Prediction, predict


def predict_runs(plan: Plan, checkpoint: Path, ceilings: dict[str, float]) -> dict[str, Prediction]:
    """Predict our runs, by precision; see :func:`predict_run`.

    None at all for several videos at once: the cost model knows of one.
    """
    if plan.batch > 1:
        return {}
    return {dtype: predict_run(plan, checkpoint, ceilings, dtype) for dtype in plan.dtypes}


def predict_run(plan: Plan, checkpoint: Path, ceilings: dict[str, float], dtype: str) -> Prediction:
    """Predict one of our runs with everything in memory.

    Args:
        plan: What is measured.
        checkpoint: Folder of the model.
        ceilings: Matrix-product rates of this machine by precision.
        dtype: Precision of the run.
    """
    model = PlannedModel.from_folder(checkpoint, plan.size.family)
    video = Video(plan.size.shape, plan.steps, references=plan.references)
    precision = getattr(torch, dtype)
    return predict(
        model,
        traced_footprint(model, video, precision),
        video,
        _measured_device(plan.device, ceilings),
        MemoryPlan("resident"),
        precision,
    )


def as_dict(prediction: Prediction) -> dict[str, Any]:
    """For the JSON file, in the words of a row."""
    stages = {name: asdict(prediction)[name] for name in ("encode", "denoise", "decode")}
    return {
        "seconds": prediction.seconds,
        "stages": stages,
        "peak_memory_bytes": round(prediction.device_bytes),
    }


def _measured_device(name: str, ceilings: dict[str, float]) -> DeviceSpec:
    nominal = device_for_planning(torch.device(name))
    return DeviceSpec(
        nominal.name,
        dict(ceilings),
        nominal.memory,
        nominal.bandwidth,
        nominal.host_link,
        MEASURED_EFFICIENCY,
        measured=True,
    )
