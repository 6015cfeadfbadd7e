"""What a network predicts, and what the scheduler of its folder takes that for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import UniPCMultistepScheduler

from vap.files.folders import read_json
from vap.training.sections import FlowConfig, Prediction

# What schedulers call the network's predictions.
_READ: dict[Prediction, str] = {"velocity": "flow_prediction", "sample": "sample"}


def flow_scheduler(prediction: Prediction, shift: float = 1.0) -> UniPCMultistepScheduler:
    """The sampler of a network that predicts so."""
    return UniPCMultistepScheduler(
        prediction_type=_READ[prediction], use_flow_sigmas=True, flow_shift=shift
    )


def _recorded(folder: Path) -> Prediction | None:
    """What the network of a folder predicts, from its scheduler."""
    place = folder / "scheduler" / "scheduler_config.json"
    if not place.is_file():
        return None
    read = _read_by(read_json(place))
    for prediction, name in _READ.items():
        if name == read:
            return prediction
    raise ValueError(
        f"{place} reads {read!r}, which is not supported. Use one of: {', '.join(_READ.values())}."
    )


def check_prediction(flow: FlowConfig, scheduler: Mapping[str, Any]) -> None:
    """Refuse to train a network to predict something else than is read."""
    read = _read_by(scheduler)
    if read != _READ[flow.prediction or "velocity"]:
        raise ValueError(
            f"flow.prediction={flow.prediction!r}, but the model's scheduler reads "
            f"{read!r}. Leave it out, or set it to what the model predicts: {', '.join(_READ)}."
        )


def flow_for(flow: FlowConfig, folder: Path) -> FlowConfig:
    """The objective for the model of a folder, from what its scheduler predicts."""
    if flow.prediction is None:
        return flow.model_copy(update={"prediction": _recorded(folder)})
    place = folder / "scheduler" / "scheduler_config.json"
    if place.is_file():
        check_prediction(flow, read_json(place))
    return flow


def check_shift(flow: FlowConfig, scheduler: Mapping[str, Any]) -> None:
    """Refuse noise levels that are spaced otherwise than the sampler's."""
    shift = float(scheduler.get("flow_shift", scheduler.get("shift", 1.0)))
    if shift != flow.shift:
        raise ValueError(
            f"flow.shift={flow.shift:g}, but the model's scheduler uses {shift:g}. Set flow.shift "
            f"to {shift:g}."
        )


def _read_by(scheduler: Mapping[str, Any]) -> str:
    """What a scheduler takes predictions for; flow matching's own does not say."""
    return str(scheduler.get("prediction_type", _READ["velocity"]))
