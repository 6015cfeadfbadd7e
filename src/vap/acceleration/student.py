"""A few-step student in the backbone's place: a LoRA that distillation trained, merged.

It was taught to go from one of a few noise levels straight to the next, with what guidance would
have added (stage ``distill``, :mod:`vap.training.stages.distill`; phased consistency, Wang et al.
2024). So the sampler takes first-order steps, and one pass each.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open

from vap.weights import LORA_FILE

STEPS_NOTE = "vap-student-steps"
"""Where a student's file says how many steps it takes."""

STUDENT = "student"
"""Folder of a pipeline's own student, and its adapter while it is merged."""

# More steps than any student takes.
_STEPS = 100

_logger = logging.getLogger(__name__)

PipelineT = TypeVar("PipelineT")


def use_student(pipeline: PipelineT, weights: str | Path, *, steps: int | None = None) -> PipelineT:
    """Merge a student into a pipeline's backbone, for good, and sample as it was taught to.

    Guidance is off from now on unless a call asks for it; the expert stays as it is. What the
    backbone was before is gone: load the model again for it.

    Args:
        pipeline: Of either variant, not quantized, its weights not streamed; changed in place.
        weights: LoRA file in diffusers' names, or the folder with ``pytorch_lora_weights``.
        steps: That it was trained for, the default of calls from now on; by default as many as
            the file says, which ``vap train`` notes in it.

    Returns:
        The same pipeline.

    Raises:
        ValueError: If there is a student already, the weights are held in eight bits or stream
            in, the file is no LoRA of this backbone, or the scheduler has no first-order steps.
        FileNotFoundError: If there are no weights.
    """
    loaded: Any = pipeline
    if loaded.student is not None:
        message = f"{loaded.student} is merged into this model already. Load the model again."
        raise ValueError(message)
    plan = getattr(loaded, "memory_plan", None)
    if plan is not None and not plan.mergeable:
        message = (
            "A student cannot be merged into weights that are held in eight bits or stream in. "
            "Load the model with student=…, which merges it before."
        )
        raise ValueError(message)
    loaded.transformer.check_mergeable()
    place = Path(weights)
    steps = taught_steps(place) if steps is None else steps
    scheduler = first_order(loaded.scheduler)
    loaded.load_lora_weights(str(place), adapter_name=STUDENT)
    loaded.fuse_lora(components=["transformer"], adapter_names=[STUDENT])
    loaded.unload_lora_weights()
    loaded.scheduler, loaded.student = scheduler, str(place)
    if steps is not None:
        loaded.steps_share = steps / loaded.native_defaults.num_inference_steps
    _logger.info("student %s merged into the backbone", place)
    return pipeline


def own_student(pipeline: Any) -> Path:
    """Where a pipeline's folder holds the student of its backbone, if it does."""
    return Path(pipeline.name_or_path or "") / STUDENT


def taught_steps(weights: Path) -> int | None:
    """The number of steps that a student's file says it was trained for, if it does.

    No tensor is read.

    Raises:
        FileNotFoundError: If there is nothing.
        ValueError: If it is not a LoRA.
    """
    file = weights / LORA_FILE if weights.is_dir() else weights
    if not file.is_file():
        message = f"{file} does not exist. Give the LoRA that vap train (stage distill) wrote."
        raise FileNotFoundError(message)
    try:
        with safe_open(file, framework="pt") as opened:
            names, noted = opened.keys(), (opened.metadata() or {}).get(STEPS_NOTE)
    except (SafetensorError, OSError) as error:
        message = f"{file} is no safetensors file ({error}). Give a LoRA in that format."
        raise ValueError(message) from error
    if not any("lora" in name.lower() for name in names):
        message = f"{file} holds no LoRA: none of its tensors is named like one."
        raise ValueError(message)
    if noted is None:
        return None
    if not noted.isdecimal() or int(noted) < 1:
        message = (
            f"{file} says that it takes {noted!r} steps, which is no number of steps. Train it "
            "again (stage distill), or give steps."
        )
        raise ValueError(message)
    return int(noted)


def first_order(scheduler: Any) -> Any:
    """A scheduler of the same noise levels that goes straight from each to the next.

    Args:
        scheduler: Of a pipeline.

    Raises:
        ValueError: If there is none for its kind.
    """
    # Here: requests are checked before diffusers is loaded.
    from diffusers import (
        CogVideoXDDIMScheduler,
        CogVideoXDPMScheduler,
        FlowMatchEulerDiscreteScheduler,
        UniPCMultistepScheduler,
    )

    if isinstance(scheduler, UniPCMultistepScheduler):
        return UniPCMultistepScheduler.from_config(
            scheduler.config, solver_order=1, disable_corrector=list(range(_STEPS))
        )
    if isinstance(scheduler, CogVideoXDDIMScheduler | CogVideoXDPMScheduler):
        return CogVideoXDDIMScheduler.from_config(scheduler.config, timestep_spacing="trailing")
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        return scheduler
    message = (
        f"{type(scheduler).__name__} takes no first-order steps, which a few-step student needs. "
        "Use UniPCMultistepScheduler or FlowMatchEulerDiscreteScheduler (Wan), or "
        "CogVideoXDDIMScheduler."
    )
    raise ValueError(message)
