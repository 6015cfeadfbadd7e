"""Chooses the fastest way to hold a model that fits an amount of memory."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vap.acceleration.calibration import Chosen, Kind, settings_for
from vap.acceleration.plan import (
    MemoryPlan,
    Profile,
    Quantization,
    WantedVideo,
    memory_bytes,
    plans_for,
)
from vap.cost.devices import DeviceSpec, device_for_planning, host_memory
from vap.cost.footprint import Video
from vap.cost.model import PlannedModel
from vap.cost.prediction import Prediction, predict
from vap.cost.recorded import footprint
from vap.cost.released import planned_model
from vap.files.folders import check_folder
from vap.models.expert_file import read_expert_info
from vap.shapes import Family

logger = logging.getLogger(__name__)
_GB = 1e9


def planned(
    folder: Path,
    family: Family,
    memory: int,
    video: WantedVideo | None,
    device: torch.device,
    dtype: torch.dtype,
    quantize: Quantization | None,
    *,
    expert: str | Path | None,
    profile: Profile | None,
) -> MemoryPlan:
    """The fastest plan that fits a model in a folder, for this machine.

    For the arguments see :func:`vap.load_pipeline`.
    """
    from vap.loading.pipeline import load_scheduler

    check_folder(folder)
    model = PlannedModel.from_folder(folder, family)
    if expert is not None:
        model = model.with_expert(read_expert_info(expert).depths)
    wanted = Video.native(model, video)
    machine = device_for_planning(device)
    guided = model.guidance or model.reference_guidance
    kind = Kind.by(family, load_scheduler(folder), model.steps, guided=guided)
    chosen = settings_for(profile or "exact", kind)
    return plan_for(model, wanted, machine, dtype, memory, quantize, chosen)


def check_fits(
    name: str,
    memory: int,
    video: WantedVideo | None,
    device: torch.device,
    dtype: torch.dtype,
    quantize: Quantization | None,
) -> None:
    """Refuse a known model that does not fit, before it is downloaded."""
    model = planned_model(name)
    if model is not None:
        wanted, machine = Video.native(model, video), device_for_planning(device)
        choose(predictions(model, wanted, machine, dtype, quantize), memory)


def plan_for(
    model: PlannedModel,
    video: Video,
    device: DeviceSpec,
    dtype: torch.dtype,
    memory: str | int,
    quantize: Quantization | None,
    profile: Chosen,
) -> MemoryPlan:
    """The fastest plan that fits, with room for what a profile keeps of the references.

    Where no plan has that room, a profile that was measured is refused; one that was guessed has
    to do without (:func:`vap.acceleration.fast.apply_profile`).
    """
    if profile.keeps_references:
        found = predictions(model, video, device, dtype, quantize, keep_references=True)
        if fitting(found, memory) or not profile.guessed:
            return choose(found, memory).plan
    return choose(predictions(model, video, device, dtype, quantize), memory).plan


def predictions(
    model: PlannedModel,
    video: Video,
    device: DeviceSpec,
    dtype: torch.dtype,
    quantize: Quantization | None = None,
    *,
    keep_references: bool = False,
) -> list[Prediction]:
    """What a generation takes under every plan of a device, fastest plan first.

    With ``keep_references``, plans that keep nothing over steps are left out.
    """
    traced = footprint(model, video, dtype, keep_references=keep_references)
    kind = "cpu" if device.is_cpu else "cuda"
    plans = plans_for(kind, quantize, keep_references=keep_references)
    return [predict(model, traced, video, device, plan, dtype) for plan in plans]


def fitting(
    found: Sequence[Prediction], memory: str | int, free_host: int | None = None
) -> list[Prediction]:
    """The predictions that fit; for the arguments see :func:`choose`."""
    budget = memory_bytes(memory)
    free_host = host_memory()[0] if free_host is None else free_host
    return [each for each in found if each.device_bytes <= budget and each.host_bytes <= free_host]


def choose(
    found: Sequence[Prediction], memory: str | int, free_host: int | None = None
) -> Prediction:
    """The first prediction that fits."""
    budget = memory_bytes(memory)
    free_host = host_memory()[0] if free_host is None else free_host
    fit = fitting(found, budget, free_host)
    if not fit:
        raise ValueError(_refusal(found, budget, free_host))
    chosen = fit[0]
    logger.info(
        "memory plan %r: %.1f of %.1f GB predicted%s",
        chosen.plan.name,
        chosen.device_bytes / _GB,
        budget / _GB,
        f", {chosen.host_bytes / _GB:.1f} GB of main memory" if chosen.host_bytes else "",
    )
    if not chosen.plan.exact:
        logger.warning(
            "memory plan %r quantizes weights to 8 bits: videos differ slightly from those of the "
            "unquantized model. To avoid this, give more memory.",
            chosen.plan.name,
        )
    return chosen


def _refusal(found: Sequence[Prediction], budget: int, free_host: int) -> str:
    least = min(found, key=lambda each: each.device_bytes)
    if least.device_bytes <= budget:
        waiting = min(each.host_bytes for each in found if each.device_bytes <= budget)
        return (
            f"{budget / _GB:.2f} GB of memory is enough only with {_enough(waiting)} of main "
            f"memory for offloaded weights, and {free_host / _GB:.2f} GB are free. Free some main "
            "memory, or give quantize='int8'."
        )
    kept = ""
    if least.plan.keep_references:
        kept = " The profile's reference cache needs a part of it: profile='exact' has none."
    return (
        f"{budget / _GB:.2f} GB of memory is too little: the smallest plan ({least.plan.name}) "
        f"needs {_enough(least.device_bytes)}. Give more, or make a smaller video: memory falls "
        f"with height, width and num_frames.{kept}"
    )


def _enough(size: float) -> str:
    """A size in words that are enough when given back: rounded up."""
    return f"{math.ceil(100 * size / _GB) / 100:.2f} GB"


def place(pipeline: Any, plan: MemoryPlan, device: torch.device) -> None:
    """Place a pipeline's weights according to a plan."""
    from vap.acceleration.offload import offload_blocks, offload_layers, offload_vae
    from vap.acceleration.text_encoder import is_unloaded

    encoders = [
        module
        for module in (pipeline.text_encoder, getattr(pipeline, "image_encoder", None))
        if module is not None
    ]
    if plan.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif plan.offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    elif plan.offload == "group":
        blocks = pipeline.transformer.expert_blocks
        pipeline._device_of_plan = device
        make_room = offload_blocks(blocks, device)
        move_apart_from(pipeline.transformer, blocks, device)
        offload_vae(pipeline.vae, pipeline.transformer, device, make_room)
        for encoder in encoders:
            encoder.register_forward_pre_hook(lambda *_: make_room())
            if not is_unloaded(encoder):
                offload_layers(encoder, device)
    elif plan.text_encoder == "offload":
        for name, module in pipeline.components.items():
            if isinstance(module, torch.nn.Module) and name != "text_encoder":
                module.to(device)
        if pipeline.text_encoder is not None and not is_unloaded(pipeline.text_encoder):
            offload_layers(pipeline.text_encoder, device)
    else:
        pipeline.to(device)


def move_apart_from(
    module: torch.nn.Module, parts: Sequence[torch.nn.Module], device: torch.device
) -> None:
    """Move what belongs to a module and to none of its parts."""
    within = {id(tensor) for part in parts for tensor in (*part.parameters(), *part.buffers())}
    for tensor in (*module.parameters(), *module.buffers()):
        if id(tensor) not in within:
            tensor.data = tensor.data.to(device)
