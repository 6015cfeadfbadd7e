"""Noise schedules that changed between the release's diffusers and today's."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import UniPCMultistepScheduler


def set_flow_timesteps(
    scheduler: Any,
    num_inference_steps: int,
    strength: float,
    device: torch.device,
    *,
    even: bool = False,
) -> None:
    """Set a schedule: as stock diffusers at strength 0 (no reference), as released at 1.

    Args:
        scheduler: The pipeline's scheduler.
        num_inference_steps: Steps N.
        strength: Reference strength, 0 … 1.
        device: Where the timesteps are wanted.
        even: Space the noise levels evenly from 1 to 0 before the shift, as step distillation does.
    """
    sigmas = (
        np.linspace(1.0, 0.0, num_inference_steps + 1)[:-1]
        if even
        else released_sigmas(scheduler, num_inference_steps, strength)
    )
    if sigmas is None:
        scheduler.set_timesteps(num_inference_steps, device=device)
    else:
        scheduler.set_timesteps(sigmas=sigmas, device=device)


def released_sigmas(scheduler: Any, num_inference_steps: int, strength: float) -> np.ndarray | None:
    """Noise levels that the released Wan model was run with, where diffusers' have moved.

    The UniPC scheduler of diffusers 0.34 spaced its T flow noise levels, before the shift, from
    1 − 1/T down; today's start at 1. The difference is 3e-2 in the final latents of a
    short schedule, so the released numbers need the old ones, and the stock pipeline today's.
    Between the two, they follow the reference strength, so that results do too.

    Args:
        scheduler: The pipeline's scheduler.
        num_inference_steps: Steps N.
        strength: Reference strength, 0 (stock) … 1 (released).

    Returns:
        N noise levels before the shift, to be handed to ``set_timesteps(sigmas=…)``; None where
        the scheduler's own are right.
    """
    config = scheduler.config
    if not isinstance(scheduler, UniPCMultistepScheduler) or strength == 0.0:
        return None
    others = "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"
    spaced_otherwise = config.use_dynamic_shifting or any(config[name] for name in others)
    if not config.use_flow_sigmas or spaced_otherwise:
        return None
    lowest = 1.0 / config.num_train_timesteps
    return np.linspace(1.0, lowest, num_inference_steps + 1)[:-1] - strength * lowest
