"""Distilled LoRAs: merged into the backbone, which then takes few steps without guidance.

Each first-order step goes from one of a few noise levels straight to the next (Wang et al. 2024).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from safetensors import safe_open

from vap.models.lora_file import lora_path

STEPS_NOTE = "vap-student-steps"
"""Metadata key for the number of steps of a distilled LoRA."""

STUDENT = "student"
"""Folder of a pipeline's own student, and its adapter while it is merged."""

# More steps than any student takes.
_STEPS = 100

_logger = logging.getLogger(__name__)

PipelineT = TypeVar("PipelineT")


@dataclass(frozen=True, slots=True)
class Distilled:
    """A published distilled LoRA of Wan's backbone, and how it is sampled."""

    repository: str
    file: str
    steps: int
    shift: float


DISTILLED = {
    # Noise levels 1000, 750, 500, 250, shifted by 5: its authors' wan_i2v_distill_4step_cfg.json.
    "lightx2v-4step": Distilled(
        "lightx2v/Wan2.1-I2V-14B-480P-StepDistill-CfgDistill-Lightx2v",
        "loras/Wan21_I2V_14B_lightx2v_cfg_step_distill_lora_rank64.safetensors",
        steps=4,
        shift=5.0,
    )
}
"""Distilled LoRAs that are known by name; their files are the user's download."""


def known_distilled(name: str) -> Distilled:
    """How a distilled LoRA is sampled."""
    if name not in DISTILLED:
        raise ValueError(f"distilled={name!r} is unknown. Use one of: {', '.join(DISTILLED)}.")
    return DISTILLED[name]


def distilled_file(name: str) -> Path:
    """The file of a known distilled LoRA in the Hub's cache; nothing is downloaded."""
    from huggingface_hub import try_to_load_from_cache

    known = known_distilled(name)
    cached = try_to_load_from_cache(known.repository, known.file)
    if not isinstance(cached, str):
        raise FileNotFoundError(
            f"{name} needs a LoRA that is not in the Hub's cache. Download it with "
            f"`hf download {known.repository} {known.file}`, or give its file as student."
        )
    return Path(cached)


def use_distilled(pipeline: PipelineT, name: str, weights: str | Path | None = None) -> PipelineT:
    """Merge a known distilled LoRA and sample as its authors do; see :func:`use_student`."""
    loaded: Any = pipeline
    known = known_distilled(name)
    if loaded.family != "wan":
        raise ValueError(f"{name} is distilled from Wan2.1; it does not fit {loaded.family}.")
    from diffusers import FlowMatchEulerDiscreteScheduler

    file = distilled_file(name) if weights is None else weights
    use_student(pipeline, file, steps=known.steps)
    loaded.scheduler = FlowMatchEulerDiscreteScheduler(shift=known.shift)
    loaded.even_levels = True
    loaded.register_to_config(even_levels=True)
    return pipeline


def use_student(pipeline: PipelineT, weights: str | Path, *, steps: int | None = None) -> PipelineT:
    """Merge a distilled LoRA into a pipeline's backbone, and sample as it was trained to.

    Guidance is off from now on unless a call asks for it. To undo this, load the model again.
    """
    loaded: Any = pipeline
    if loaded.student is not None:
        raise ValueError(
            f"{loaded.student} is merged into this model already. Load the model again."
        )
    plan = getattr(loaded, "memory_plan", None)
    if plan is not None and not plan.mergeable:
        raise ValueError(
            "A distilled LoRA cannot be merged into weights that are quantized or offloaded. "
            "Load the model with student=…, which merges it before."
        )
    from vap.pipelines.adapters import merge_lora

    place = Path(weights)
    steps = taught_steps(place) if steps is None else steps
    scheduler = first_order(loaded.scheduler)
    merge_lora(loaded, place)
    loaded.scheduler, loaded.student = scheduler, str(place)
    if steps is not None:
        loaded.steps_share = steps / loaded.native_defaults.num_inference_steps
    _logger.info("distilled LoRA %s merged into the backbone", place)
    return pipeline


def own_student(pipeline: Any) -> Path:
    """Where a pipeline's folder has its own distilled LoRA, if it does."""
    return Path(pipeline.name_or_path or "") / STUDENT


def taught_steps(weights: Path) -> int | None:
    """The number of steps that a distilled LoRA was trained for, if its file stores it."""
    file = lora_path(weights)
    with safe_open(file, framework="pt") as opened:
        noted = (opened.metadata() or {}).get(STEPS_NOTE)
    if noted is None:
        return None
    if not noted.isdecimal() or int(noted) < 1:
        raise ValueError(
            f"{file} has the invalid number of steps {noted!r}. Train it again (stage distill), "
            "or set the steps."
        )
    return int(noted)


def first_order(scheduler: Any) -> Any:
    """A scheduler with the same noise levels and first-order steps."""
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
    raise ValueError(
        f"{type(scheduler).__name__} takes no first-order steps, which a distilled LoRA needs. "
        "Use UniPCMultistepScheduler or FlowMatchEulerDiscreteScheduler (Wan), or "
        "CogVideoXDDIMScheduler."
    )
