"""A few-step student in the backbone's place: a LoRA that distillation trained, merged.

It was taught to go from one of a few noise levels straight to the next, with what guidance would
have added (stage ``distill``, :mod:`vap.training.stages.distill`; phased consistency, Wang et al.
2024). So the sampler takes first-order steps, and one pass each.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, TypeVar

from diffusers import (
    CogVideoXDDIMScheduler,
    CogVideoXDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)

BUNDLED = "student"
"""Where a pipeline folder holds the student of its backbone."""

_NAME = "student"
# More steps than any student takes.
_STEPS = 100

_logger = logging.getLogger(__name__)

PipelineT = TypeVar("PipelineT")


def use_student(pipeline: PipelineT, weights: str | Path, *, steps: int | None = None) -> PipelineT:
    """Merge a student into a pipeline's backbone, for good, and sample as it was taught to.

    Guidance is off from now on unless a call asks for it; the expert stays as it is. What the
    backbone was before is gone: load the model again for it.

    Args:
        pipeline: Of either variant, not quantised, its weights not streamed; changed in place.
        weights: LoRA file in diffusers' names, or the folder with ``pytorch_lora_weights``.
        steps: That it was trained for, the default of calls from now on; None leaves that alone.

    Returns:
        The same pipeline.

    Raises:
        ValueError: If there is a student already, or the scheduler has no first-order steps.
        FileNotFoundError: If there are no weights.
    """
    loaded: Any = pipeline
    if loaded.student is not None:
        message = f"{loaded.student} is merged into this model already. Load the model again."
        raise ValueError(message)
    place = Path(weights)
    if not place.exists():
        message = f"{place} does not exist. Give the LoRA that vap train (stage distill) wrote."
        raise FileNotFoundError(message)
    scheduler = first_order(loaded.scheduler)
    loaded.load_lora_weights(str(place), adapter_name=_NAME)
    loaded.fuse_lora(components=["transformer"], adapter_names=[_NAME])
    loaded.unload_lora_weights()
    loaded.scheduler, loaded.student = scheduler, str(place)
    if steps is not None:
        loaded.steps_share = steps / loaded.native_defaults.num_inference_steps
    _logger.info("student %s merged into the backbone", place)
    return pipeline


def first_order(scheduler: Any) -> Any:
    """A scheduler of the same noise levels that goes straight from each to the next.

    Args:
        scheduler: Of a pipeline.

    Raises:
        ValueError: If there is none for its kind.
    """
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
