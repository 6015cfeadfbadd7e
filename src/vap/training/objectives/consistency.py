"""Phased consistency distillation (Wang et al. 2024, "Phased Consistency Models").

The sampler's path from noise to clean is cut into as many phases as the student will take steps.
Within a phase the student's one step to its end should lead to the same place from anywhere on the
teacher's path. At inference the student steps from end to end, with nothing random in between.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Where the distance turns from square to absolute (Song & Dhariwal 2023 scale it with the size
# of the data; here it is a mean over elements, as in latent consistency models).
_HUBER = 1e-3


@dataclass(frozen=True)
class PhasePoints:
    """Neighboring points on the teacher's path, and the ends of their phases, each ``[B]``."""

    start: Tensor
    neighbor: Tensor
    end: Tensor


def draw_points(
    schedule: Tensor, substeps: int, count: int, generator: torch.Generator
) -> PhasePoints:
    """Draw points of the teacher's path, all equally often.

    Args:
        schedule: The teacher's levels ``[phases·substeps + 1]``, from noise to clean.
        substeps: Of its steps, in a phase.
        count: Of points.
        generator: Draws them, on the device of what is returned.
    """
    device = generator.device
    place = torch.randint(len(schedule) - 1, (count,), generator=generator, device=device)
    levels = schedule.to(device)
    end = (place.div(substeps, rounding_mode="floor") + 1) * substeps
    return PhasePoints(levels[place], levels[place + 1], levels[end])


def consistency_loss(student: Tensor, goal: Tensor) -> Tensor:
    """Pseudo-Huber distance of where two steps lead, a mean per sample ``[B]``."""
    square = (student.float() - goal.float()).square()
    distance = (square + _HUBER**2).sqrt() - _HUBER
    return distance.mean(dim=tuple(range(1, distance.ndim)))
