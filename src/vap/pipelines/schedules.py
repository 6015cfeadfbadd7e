"""Noise schedules that changed between the release's diffusers and today's."""

from __future__ import annotations

from typing import Any

import numpy as np
from diffusers import UniPCMultistepScheduler


def released_sigmas(scheduler: Any, num_inference_steps: int) -> np.ndarray | None:
    """Noise levels that the released Wan model was run with, where diffusers' have moved.

    The UniPC scheduler of diffusers 0.34 spaced its flow noise levels, before the shift, from
    1 − 1/T down; today's start at 1. The difference is 3e-2 in the final latents of a
    short schedule, so the released numbers need the old ones. Other schedulers did not change.

    Args:
        scheduler: The pipeline's scheduler.
        num_inference_steps: Steps N.

    Returns:
        N noise levels before the shift, to be handed to ``set_timesteps(sigmas=…)``; None where
        the scheduler's own are right.
    """
    config = scheduler.config
    if not isinstance(scheduler, UniPCMultistepScheduler):
        return None
    if not config.use_flow_sigmas or config.use_dynamic_shifting:
        return None
    clean = np.linspace(1, 1 / config.num_train_timesteps, num_inference_steps + 1)
    return (1.0 - clean)[::-1][:-1].copy()
