"""From a model's name to a pipeline: bundled model, local folder, Hub id."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import torch

from vap.acceleration.plan import (
    MemoryPlan,
    Offload,
    Profile,
    Quantization,
    WantedVideo,
    check_offload,
    check_profile,
    check_quantize,
    dtype_name,
)
from vap.devices import check_device, half_precision, has_fast_half, note_slow_half
from vap.files.components import load_component
from vap.files.folders import RELEASED, check_folder, family_of
from vap.files.names import (
    DEFAULT_MODEL,
    find_folder,
    full_name,
    hub_id,
    local_model,
    resolve_folder,
)
from vap.files.reading import one_at_a_time
from vap.files.shared import expert_path
from vap.files.weights import settle, stored_dtype
from vap.process import quiet_libraries
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


@one_at_a_time
@quiet_libraries()
def load_pipeline(
    name_or_path: str | Path = DEFAULT_MODEL,
    *,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str | None = None,
    expert: str | Path | None = None,
    backbone: str | Path | None = None,
    student: str | Path | None = None,
    distilled: str | None = None,
    lora: Sequence[tuple[str | Path, float]] = (),
    quantize: Quantization | None = None,
    memory: str | int | None = None,
    video: WantedVideo | None = None,
    offload: Offload | None = None,
    profile: Profile | None = None,
    compile: bool = False,  # noqa: A002 - torch's word for it
    attention: str | None = None,
    **options: Any,
) -> Any:
    """Load a Video-As-Prompt pipeline of either variant.

    Args:
        name_or_path: ``vap-mini``, ``wan`` or ``cogvideox`` (the released models), a local folder,
            or a Hub id. A stock image-to-video backbone folder works too: give it an ``expert``,
            or use it without references.
        dtype: Precision; by default bfloat16 on an accelerator and float32 on a CPU. The profiles
            ``fast`` and ``turbo`` use bfloat16 also on a CPU that supports it. The Wan VAE and
            image encoder stay in float32, as they were trained, except in some profiles.
        device: Where to run; by default an accelerator if there is one.
        expert: An expert to load in place of the checkpoint's own: a file, or ``owner/name`` on
            the Hub.
        backbone: A ``.gguf`` or ``.safetensors`` file, or a folder of shards, to take the backbone
            from (Wan).
        student: A distilled LoRA to merge into the backbone, see ``vap.acceleration.student``.
        distilled: ``lightx2v-4step``: use this published LoRA for Wan2.1 with its own sampling.
            ``student`` gives its file; by default it is read from the Hub's cache.
        lora: LoRA files in any usual naming, each with its scale, merged into the weights (for a
            GGUF backbone, loaded without merging).
        quantize: Quantize the weights of the transformer's blocks: ``int8`` or ``fp8``.
        memory: Limit of the device's memory (of main memory on a CPU): ``10GB``, ``7.5GiB``,
            bytes, or ``auto`` for the free memory, which is the default on an accelerator and, on
            a CPU, for the released models. vap chooses the fastest plan that fits, see
            ``vap.acceleration.plan``, and logs it.
        video: Size for which ``memory`` must be enough; by default one reference and the model's
            own size.
        offload: Choose how to save accelerator memory yourself: ``model`` (one component at a
            time), ``group`` (block-level offload) or ``sequential`` (slowest).
        profile: ``exact``: the fastest way to the same result, to rounding; ``compile`` and
            ``attention`` imply it. ``fast`` and ``turbo`` are less exact, see docs/profiles.md.
            By default no profile is applied.
        compile: Compile the transformer's repeated block; cannot be combined with offloading.
        attention: Name of an attention kernel, in place of the fastest exact one.
        **options: Passed to the pipeline's ``from_pretrained``.

    Returns:
        A ``WanVideoAsPromptPipeline`` or ``CogVideoXVideoAsPromptPipeline``; its
        ``memory_plan`` is the plan it was loaded by.

    Raises:
        FileNotFoundError: If the model or one of its files is missing.
        ValueError: If a file is damaged or does not fit, memory is too small, or an option is
            unknown or contradicts another.
    """
    # First what needs no model: one of these may be downloaded for hours.
    if device is not None:
        check_device(str(device))
    device = default_device() if device is None else torch.device(device)
    _check_choices(device, offload, quantize, profile)
    dtype = _precision(dtype, device, profile)
    if options:
        check_options(options, {*inspect.signature(load_pipeline).parameters} - {"options"})
    allowed = _allowed(name_or_path, memory, device, offload, backbone)
    gguf = Path(backbone or "").suffix == ".gguf"
    _check_adapters(lora, student, distilled, mergeable=not gguf)
    if allowed is not None and local_model(name_or_path) is None:
        from vap.loading.memory import check_fits

        check_fits(hub_id(name_or_path), allowed, video, device, dtype, quantize)
    folder = find_folder(name_or_path)
    expert = None if expert is None else expert_path(expert)
    family = family_of(folder)
    plan = MemoryPlan(
        "chosen by hand",
        "offload" if offload == "group" else "resident",
        offload=offload,
        quantize=quantize,
        keep_references=True,
    )
    if allowed is not None:
        from vap.loading.memory import planned

        plan = planned(
            folder, family, allowed, video, device, dtype, quantize, expert=expert, profile=profile
        )
    if compile and plan.offload is not None:
        raise ValueError(
            f"compile needs all weights on the device, and the memory plan is {plan.name!r}. "
            "Leave out compile, or give more memory."
        )
    pipeline = _loaded(folder, family, plan, device, dtype, backbone, options)
    if expert is not None:
        pipeline.transformer.load_expert(expert)
    _use_adapters(pipeline, lora, student, distilled, merge=not gguf)
    if profile is not None and not plan.mergeable:
        from vap.acceleration.fast import merge_own_student

        merge_own_student(pipeline, profile)
    _place(pipeline, plan, device)
    if profile is not None or compile or attention is not None:
        from vap.acceleration.fast import apply_profile

        apply_profile(pipeline, profile or "exact", compile=compile, attention=attention)
    return pipeline


@quiet_libraries()
def load_transformer(name_or_path: str | Path, *, dtype: torch.dtype | None = None) -> Any:
    """Load the transformer of a model alone, in the precision that it is stored in by default."""
    from vap.pipelines.base import pipeline_class

    folder = resolve_folder(name_or_path)
    kind = pipeline_class(family_of(folder)).transformer_class
    dtype = dtype or stored_dtype(folder / "transformer")
    return load_component(folder, "transformer", kind, dtype=dtype)


def load_scheduler(name_or_path: str | Path) -> Any:
    """Load the scheduler of a model alone."""
    return load_component(resolve_folder(name_or_path), "scheduler")


def default_device() -> torch.device:
    """The accelerator of this machine, or its CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def _precision(
    dtype: torch.dtype | str | None, device: torch.device, profile: Profile | None
) -> torch.dtype:
    """What was asked for; else half precision where it is faster and the profile allows it."""
    if isinstance(dtype, str):
        dtype = getattr(torch, dtype_name(dtype))
    if not isinstance(dtype, torch.dtype):
        exact_cpu = device.type == "cpu" and profile in {None, "exact"}
        slow = exact_cpu or not has_fast_half(device)
        dtype = torch.float32 if slow else half_precision(device)
    if dtype == torch.bfloat16:
        note_slow_half(device)
    return dtype


def _allowed(
    model: str | Path,
    memory: str | int | None,
    device: torch.device,
    offload: Offload | None,
    backbone: str | Path | None,
) -> int | None:
    """Bytes that a plan has to fit; None where there is nothing to plan."""
    if memory is not None and offload is not None:
        raise ValueError(
            "memory and offload exclude each other, because memory chooses the offload. Leave out "
            "one of them."
        )
    if memory is not None and backbone is not None:
        raise ValueError(
            "memory cannot be combined with backbone, because the size of a backbone file is not "
            "predicted. Leave out memory, and choose offload yourself if the model does not fit."
        )
    large = device.type != "cpu" or full_name(model) in RELEASED.values()
    if memory is None and (offload is not None or backbone is not None or not large):
        return None
    from vap.cost.devices import budget

    return budget("auto" if memory is None else memory, device)


def check_options(options: Iterable[str], named: Iterable[str]) -> None:
    """Refuse options that nothing takes, which diffusers would leave out."""
    from vap.pipelines.base import pipeline_class

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


def _check_choices(
    device: torch.device,
    offload: Offload | None,
    quantize: Quantization | None,
    profile: Profile | None,
) -> None:
    """Refuse unknown ways to hold or to run a model."""
    if offload is not None:
        check_offload(offload, device.type)
    if quantize is not None:
        check_quantize(quantize)
    if profile is not None:
        check_profile(profile)


def _check_adapters(
    lora: Sequence[tuple[str | Path, float]],
    student: str | Path | None,
    distilled: str | None,
    *,
    mergeable: bool,
) -> None:
    """Find the files of adapters before a model is loaded."""
    if (student or distilled) and not mergeable:
        raise ValueError(
            "A distilled LoRA must be merged into the backbone, and LoRAs cannot be merged into a "
            "GGUF file. Leave out student, or give a .safetensors backbone."
        )
    files = [*(path for path, _ in lora), *([] if student is None else [student])]
    if files:
        from vap.models.lora_file import lora_path

        for path in files:
            lora_path(path)
    if distilled is not None:
        from vap.acceleration.student import distilled_file, known_distilled

        known_distilled(distilled)
        if student is None:
            distilled_file(distilled)


def _loaded(
    folder: Path,
    family: Family,
    plan: MemoryPlan,
    device: torch.device,
    dtype: torch.dtype,
    backbone: str | Path | None,
    options: dict[str, Any],
) -> Any:
    """Load the pipeline into main memory, as far as the plan requires."""
    from vap.pipelines.base import pipeline_class

    kind = pipeline_class(family)
    dtypes: Any = dtype
    if family == "wan":
        precise = ("vae", "image_encoder", "detail")
        dtypes = {"default": dtype, **dict.fromkeys(precise, torch.float32)}
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


def _use_adapters(
    pipeline: Any,
    lora: Sequence[tuple[str | Path, float]],
    student: str | Path | None,
    distilled: str | None,
    *,
    merge: bool,
) -> None:
    """Merge LoRA files and a distilled one into a pipeline, before it is placed."""
    if lora:
        from vap.pipelines.adapters import use_loras

        use_loras(pipeline, lora, merge=merge)
    if distilled is not None:
        from vap.acceleration.student import use_distilled

        use_distilled(pipeline, distilled, student)
    elif student is not None:
        from vap.acceleration.student import use_student

        use_student(pipeline, student)


def _place(pipeline: Any, plan: MemoryPlan, device: torch.device) -> None:
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
