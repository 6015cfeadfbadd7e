"""The steps of loading a pipeline folder: plan, load, merge adapters, place."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import torch

from vap.acceleration.plan import MemoryPlan, Quantization, WantedVideo
from vap.acceleration.profiles import Profile
from vap.acceleration.student import (
    distilled_file,
    known_distilled,
    use_distilled,
    use_student,
)
from vap.files.folders import check_folder
from vap.files.weights import settle
from vap.loading.pipeline import load_scheduler
from vap.models.lora_file import lora_path
from vap.pipelines.registry import pipeline_class
from vap.shapes import Family

# What a pipeline's from_pretrained takes beside the parts of the pipeline. What would run code of
# a model's author is not among them.
_LOADING_OPTIONS = frozenset(
    {
        *("cache_dir", "force_download", "local_files_only", "proxies", "revision", "token"),
        *("device_map", "low_cpu_mem_usage", "max_memory", "offload_folder", "offload_state_dict"),
        *("provider", "provider_options", "sess_options", "use_onnx", "load_connected_pipeline"),
        *("disable_mmap", "quantization_config", "use_flashpack", "use_safetensors", "variant"),
    }
)


def check_options(options: Iterable[str], named: Iterable[str]) -> None:
    """Refuse options that nothing takes, which diffusers would leave out."""
    parts = {
        name
        for family in get_args(Family)
        for name in inspect.signature(pipeline_class(family).__init__).parameters
    }
    taken = (_LOADING_OPTIONS | parts) - {"self"}
    for name in options:
        if name in taken:
            continue
        nearest = difflib.get_close_matches(name, sorted({*taken, *named}), n=1)
        hint = f"Did you mean {nearest[0]!r}?" if nearest else f"Give one of: {sorted(taken)}."
        raise ValueError(f"load_pipeline has no option {name!r}. {hint}")


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
    """The fastest plan that fits, for this machine.

    For the arguments see :func:`vap.loading.pipeline.load_pipeline`.
    """
    from vap.acceleration.calibration import Kind, settings_for
    from vap.cost.devices import device_for_planning
    from vap.cost.footprint import Video
    from vap.cost.model import PlannedModel
    from vap.loading.memory import plan_for
    from vap.models.expert_file import read_expert_info

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
    from vap.cost.devices import device_for_planning
    from vap.cost.footprint import Video
    from vap.cost.released import planned_model
    from vap.loading.memory import choose, predictions

    model = planned_model(name)
    if model is not None:
        wanted, machine = Video.native(model, video), device_for_planning(device)
        choose(predictions(model, wanted, machine, dtype, quantize), memory)


def loaded(
    folder: Path,
    family: Family,
    plan: MemoryPlan,
    device: torch.device,
    dtype: torch.dtype,
    backbone: str | Path | None,
    options: dict[str, Any],
) -> Any:
    """Load the pipeline into main memory, as far as a plan says."""
    kind = pipeline_class(family)
    dtypes: Any = dtype
    if family == "wan":
        dtypes = {"default": dtype, "vae": torch.float32, "image_encoder": torch.float32}
    if backbone is not None:
        from vap.loading.backbones import transformer_with_backbone

        check_folder(folder)
        options = {
            "transformer": transformer_with_backbone(
                kind.transformer_class, folder, backbone, dtype
            ),
            **options,
        }
    offloaded = plan.text_encoder == "offload" and plan.offload in {None, "group"}
    # One that the user brought is not ours to free: nobody could read it again.
    on_demand = offloaded and "text_encoder" not in options
    if on_demand:
        from vap.acceleration.text_encoder import release_before, text_encoder_on_demand

        check_folder(folder)
        options = {"text_encoder": text_encoder_on_demand(folder, dtype, device), **options}
    pipeline = kind.from_pretrained(folder, dtype=dtypes, **options)
    if on_demand and device.type == "cpu":
        release_before(pipeline.transformer, pipeline.text_encoder)
    return pipeline


def check_adapters(
    lora: Sequence[tuple[str | Path, float]], student: str | Path | None, distilled: str | None
) -> None:
    """Find the files of adapters before a model is loaded."""
    for path in (*(path for path, _ in lora), *([] if student is None else [student])):
        lora_path(path)
    if distilled is not None:
        known_distilled(distilled)
        if student is None:
            distilled_file(distilled)


def use_adapters(
    pipeline: Any,
    lora: Sequence[tuple[str | Path, float]],
    student: str | Path | None,
    distilled: str | None,
    backbone: str | Path | None,
) -> None:
    """Merge LoRA files and a distilled one into a pipeline, before it is placed."""
    if lora:
        from vap.pipelines.adapters import use_loras

        use_loras(pipeline, lora, merge=Path(backbone or "").suffix != ".gguf")
    if distilled is not None:
        use_distilled(pipeline, distilled, student)
    elif student is not None:
        use_student(pipeline, student)


def placed(pipeline: Any, plan: MemoryPlan, device: torch.device) -> Any:
    """Quantize, tile and place a loaded pipeline by a plan."""
    if plan.tiling:
        from vap.acceleration.tiling import enable_tiling

        enable_tiling(pipeline.vae)
    if plan.quantize is not None:
        from vap.acceleration.quantize import quantize

        quantize(pipeline.transformer.expert_blocks, plan.quantize)
    if device.type == "cpu":
        for component in pipeline.components.values():
            if isinstance(component, torch.nn.Module):
                settle(component)
    else:
        from vap.loading.memory import place

        place(pipeline, plan, device)
    pipeline.keep_constants = plan.keep_constants
    pipeline.memory_plan = plan
    return pipeline
