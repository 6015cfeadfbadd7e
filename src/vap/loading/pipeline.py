"""From a model's name to a pipeline: bundled model, local folder, Hub id."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vap.acceleration.plan import (
    MemoryPlan,
    Offload,
    Quantization,
    WantedVideo,
    check_offload,
    check_quantize,
    dtype_name,
)
from vap.acceleration.profiles import Profile, check_profile
from vap.cost.devices import budget
from vap.devices import check_device, half_precision, has_fast_half, note_slow_half
from vap.files.folders import RELEASED, family_of
from vap.files.hub import find_folder, resolve_folder
from vap.files.names import DEFAULT_MODEL, full_name, hub_id, local_model
from vap.files.reading import one_at_a_time
from vap.files.weights import stored_dtype
from vap.pipelines.registry import pipeline_class
from vap.quiet import quiet_libraries


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
        dtype: Precision; by default bfloat16 on an accelerator and float32 on a CPU, where the
            profiles ``fast`` and ``turbo`` take bfloat16 too if it can. The Wan VAE and image
            encoder stay in float32, as they were trained, but for some profiles.
        device: Where to run; by default an accelerator if there is one.
        expert: An expert file to load in place of the checkpoint's own.
        backbone: A ``.gguf`` or ``.safetensors`` file, or a folder of shards, to take the backbone
            from (Wan).
        student: A distilled LoRA to merge into the backbone, see :mod:`vap.acceleration.student`.
        distilled: ``lightx2v-4step``: sample as that published LoRA of Wan2.1 is sampled. Its
            file is ``student``, or the one in the Hub's cache.
        lora: LoRA files of any usual spelling, each with the scale of its effect, merged into the
            weights (kept beside those of a GGUF backbone).
        quantize: Quantize the weights of the transformer's blocks: ``int8`` or ``fp8``.
        memory: What may be used of the device's memory (of main memory on a CPU): ``10GB``,
            ``7.5GiB``, bytes, or ``auto`` for what is free, which is the default on an
            accelerator and for the released models. The fastest plan that fits is chosen, see
            :mod:`vap.acceleration.plan`; the log says which.
        video: What ``memory`` has to suffice for; by default one reference and the model's own
            size.
        offload: Choose how to save accelerator memory yourself: ``model`` (one component at a
            time), ``group`` (blocks of the transformer stream in) or ``sequential`` (slowest).
        profile: ``exact``: as fast as the machine allows at the same result to rounding, which
            ``compile`` and ``attention`` imply; ``fast`` and ``turbo`` give up a little and more
            for speed, as measured in docs/profiles.md. By default no profile is applied.
        compile: Compile the transformer's repeated block; not together with offloading.
        attention: Name of an attention kernel, in place of the fastest exact one.
        **options: Passed to the pipeline's ``from_pretrained``.

    Returns:
        A :class:`WanVideoAsPromptPipeline` or :class:`CogVideoXVideoAsPromptPipeline`; its
        ``memory_plan`` is the plan it was loaded by.

    Raises:
        FileNotFoundError: If the model or one of its files is missing.
        ValueError: If a file is damaged or does not fit, memory does not suffice, or an option is
            unknown or contradicts another.
    """
    from vap.loading import assembly as loading

    # First what needs no model: one of these may be downloaded for hours.
    if device is not None:
        check_device(str(device))
    device = torch.device(device) if device is not None else default_device()
    check_offload(offload, device.type)
    check_quantize(quantize)
    check_profile(profile)
    dtype = _as_dtype(dtype) or _default_dtype(device, profile)
    if dtype == torch.bfloat16:
        note_slow_half(device)
    if options:
        named = {*inspect.signature(load_pipeline).parameters} - {"options"}
        loading.check_options(options, named)
    allowed = _allowed(name_or_path, memory, device, offload, backbone)
    _check_backbone(backbone, student or distilled)
    loading.check_adapters(lora, student, distilled)
    if allowed is not None and local_model(name_or_path) is None:
        loading.check_fits(hub_id(name_or_path), allowed, video, device, dtype, quantize)
    folder = find_folder(name_or_path)
    family = family_of(folder)
    plan = MemoryPlan(
        "chosen by hand",
        "offload" if offload == "group" else "resident",
        offload=offload,
        quantize=quantize,
        keep_references=True,
    )
    if allowed is not None:
        plan = loading.planned(
            folder, family, allowed, video, device, dtype, quantize, expert=expert, profile=profile
        )
    if compile and plan.offload is not None:
        raise ValueError(
            f"compile needs all weights on the device, and the memory plan is {plan.name!r}. "
            "Leave out compile, or give more memory."
        )
    pipeline = loading.loaded(folder, family, plan, device, dtype, backbone, options)
    if expert is not None:
        pipeline.transformer.load_expert(expert)
    loading.use_adapters(pipeline, lora, student, distilled, backbone)
    if profile is not None and not plan.mergeable:
        from vap.acceleration.fast import merge_own_student

        merge_own_student(pipeline, profile)
    pipeline = loading.placed(pipeline, plan, device)
    if profile is not None or compile or attention is not None:
        from vap.acceleration.fast import apply_profile

        apply_profile(pipeline, profile or "exact", compile=compile, attention=attention)
    return pipeline


@quiet_libraries()
def load_transformer(name_or_path: str | Path, *, dtype: torch.dtype | None = None) -> Any:
    """Load the transformer of a model alone, in the precision that it is stored in by default."""
    from vap.files.components import load_component

    folder = resolve_folder(name_or_path)
    kind = pipeline_class(family_of(folder)).transformer_class
    dtype = dtype or stored_dtype(folder / "transformer")
    return load_component(folder, "transformer", kind, dtype=dtype)


def load_scheduler(name_or_path: str | Path) -> Any:
    """Load the scheduler of a model alone."""
    from vap.files.components import load_component

    return load_component(resolve_folder(name_or_path), "scheduler")


def default_device() -> torch.device:
    """The accelerator of this machine, or its CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def _default_dtype(device: torch.device, profile: Profile | None) -> torch.dtype:
    """Half precision where it is faster, unless the profile is exact."""
    if device.type != "cpu":
        return half_precision(device)
    if profile in {None, "exact"}:
        return torch.float32
    return torch.bfloat16 if has_fast_half(device) else torch.float32


def _allowed(
    model: str | Path,
    memory: str | int | None,
    device: torch.device,
    offload: Offload | None,
    backbone: str | Path | None,
) -> int | None:
    """Bytes that a plan has to fit; None where there is nothing to plan."""
    if memory is not None:
        _check_choices(offload, backbone)
        return budget(memory, device)
    large = device.type != "cpu" or full_name(model) in RELEASED.values()
    if offload is not None or backbone is not None or not large:
        return None
    return budget("auto", device)


def _check_choices(offload: Offload | None, backbone: str | Path | None) -> None:
    if offload is not None:
        raise ValueError(
            "memory chooses how weights are offloaded. Leave out either memory or offload."
        )
    if backbone is not None:
        raise ValueError(
            "How much memory a backbone file takes is not predicted. Leave out memory, and choose "
            "offload yourself if the model does not fit."
        )


def _check_backbone(backbone: str | Path | None, student: str | Path | None) -> None:
    if backbone is not None and student is not None and Path(backbone).suffix == ".gguf":
        raise ValueError(
            "A student is merged into the backbone, and nothing can be merged into the weights of "
            "a GGUF file. Leave out student, or give a .safetensors backbone."
        )


def _as_dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    chosen: torch.dtype = getattr(torch, dtype_name(dtype))
    return chosen
