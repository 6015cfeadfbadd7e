"""The fast profiles: what they give up is chosen by measurements, see :mod:`.calibration`."""

from __future__ import annotations

import logging
from typing import Any, TypeVar

import torch

from vap.acceleration.attention import use_attention
from vap.acceleration.calibration import Chosen, Kind, settings_for
from vap.acceleration.exact import apply_exact
from vap.acceleration.fast_products import can_multiply_fp8, quantized_attention, use_fp8_products
from vap.acceleration.plan import MemoryPlan, Profile, check_profile
from vap.acceleration.profiles import Settings
from vap.acceleration.student import own_student, use_student
from vap.devices import has_fast_half

_logger = logging.getLogger(__name__)

PipelineT = TypeVar("PipelineT")


def apply_profile(
    pipeline: PipelineT,
    profile: Profile,
    *,
    compile: bool = False,  # noqa: A002 - torch's word for it
    attention: str | None = None,
    settings: Settings | None = None,
) -> PipelineT:
    """Set a loaded pipeline to a profile, which includes everything of the exact one.

    A profile that changes precisions stays in force for the weights.
    """
    check_profile(profile)
    loaded: Any = pipeline
    if settings is None:
        chosen = _suited(settings_for(profile, Kind.of(loaded)), loaded)
    else:
        chosen = Chosen(settings, "given")
    settings = chosen.settings
    _check(settings, loaded)
    if settings.student and loaded.student is None:
        use_student(loaded, own_student(loaded))
    transformer, device = loaded.transformer, loaded._execution_device
    done = []
    if (
        settings.fp8_products
        and _stays(loaded)
        and can_multiply_fp8(device, transformer.dtype, compiled=compile)
    ):
        use_fp8_products(transformer.expert_blocks)
        done.append("fp8 products")
    if settings.half_vae and has_fast_half(device):
        loaded.vae.to(torch.bfloat16)
        done.append("bfloat16 VAE")
    apply_exact(loaded, compile=compile, attention=attention)
    quantized = quantized_attention(device) if settings.quantized_attention else None
    if quantized is not None and attention is None:
        use_attention(transformer, quantized)
        done.append(f"{quantized} attention")
    if not _is_users_own(loaded):
        loaded.reuse, loaded.steps_share = settings.reuse, settings.steps
    if chosen.guessed:
        _logger.warning(
            "profile %r was not measured for this kind of model: its settings are a guess, and "
            "its loss of quality is unknown. Use 'exact' for exact results.",
            profile,
        )
    _logger.info("profile %s (%s): %s %s", profile, chosen.source, settings, ", ".join(done))
    return pipeline


def merge_own_student(pipeline: Any, profile: Profile) -> None:
    """Merge the student that a profile takes, before weights are placed where nothing merges."""
    settings = settings_for(profile, Kind.of(pipeline)).settings
    if settings.student and pipeline.student is None:
        _check_own_student(pipeline)
        use_student(pipeline, own_student(pipeline))


def _stays(pipeline: Any) -> bool:
    """Whether the transformer's weights are where it computes, all the time."""
    plan: MemoryPlan | None = getattr(pipeline, "memory_plan", None)
    here = pipeline.transformer.device.type == pipeline._execution_device.type
    return here and (plan is None or plan.offload is None)


def _suited(chosen: Chosen, pipeline: Any) -> Chosen:
    """What is to be done, less what was only guessed and does not suit; that is logged."""
    obstacle = _obstacle_to_keeping(pipeline)
    if not (chosen.guessed and chosen.keeps_references and obstacle):
        return chosen
    _logger.info("no reference cache: %s", obstacle)
    return chosen.without_kept_references()


def _obstacle_to_keeping(pipeline: Any) -> str | None:
    """Why what is read of the references cannot be kept over steps; None if it can."""
    plan: MemoryPlan | None = getattr(pipeline, "memory_plan", None)
    if not pipeline.keep_constants:
        return "the memory plan keeps nothing"
    if plan is not None and not plan.keep_references:
        return f"the memory plan {plan.name!r} has no room for it"
    if pipeline.transformer.coupling == "addition":
        return "this expert is added to the target stream, so it has no keys and values to cache"
    return None


def _is_users_own(pipeline: Any) -> bool:
    """Whether steps are those of a student that the user brought, not of what was measured."""
    return pipeline.student not in {None, str(own_student(pipeline))}


def _check(settings: Settings, pipeline: Any) -> None:
    """Refuse settings that a model or its scheduler cannot take."""
    reuse = settings.reuse
    if pipeline.student is not None and not settings.student and not _is_users_own(pipeline):
        raise ValueError(
            f"The backbone contains the distilled LoRA {pipeline.student}, and this profile needs "
            "the backbone without it. Load the model again."
        )
    if settings.student:
        _check_own_student(pipeline)
    if reuse.model > 1 and pipeline.scheduler.order != 1:
        name = type(pipeline.scheduler).__name__
        raise ValueError(
            f"{name} runs the model {pipeline.scheduler.order} times per step, and this profile "
            "cannot extrapolate its stages. Use profile='exact', or another scheduler."
        )
    obstacle = _obstacle_to_keeping(pipeline)
    if reuse.references > 1 and obstacle:
        raise ValueError(
            f"This profile needs a reference cache, and {obstacle}. Use profile='exact', or load "
            "the model with this profile and more memory."
        )


def _check_own_student(pipeline: Any) -> None:
    if not own_student(pipeline).is_dir():
        raise ValueError(
            f"This profile needs a distilled LoRA, and {pipeline.name_or_path} has no folder "
            "student/. Use profile='fast', or train one (stage distill)."
        )
