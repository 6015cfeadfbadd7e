"""Profiles: how much exactness is given for time, by name.

``exact`` gives none. ``fast`` and ``turbo`` are points on the front of speed against fidelity that
was measured for a kind of model (:mod:`vap.acceleration.calibration`); for models that nothing was
measured for, they are cautious guesses.
"""

from __future__ import annotations

from dataclasses import dataclass

from vap.acceleration.plan import Profile
from vap.pipelines.denoise import NOTHING, Reuse


@dataclass(frozen=True, slots=True)
class Settings:
    """What a profile does."""

    steps: float = 1.0
    reuse: Reuse = NOTHING
    half_vae: bool = False
    fp8_products: bool = False
    quantized_attention: bool = False
    student: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.steps <= 1.0:
            raise ValueError(
                f"steps={self.steps} is not a share of the steps: it must be above 0 and at most 1."
            )


GUESSES: dict[Profile, Settings] = {
    "exact": Settings(),
    "fast": Settings(
        steps=0.5, reuse=Reuse(guidance=2, references=2, warm_up=2), fp8_products=True
    ),
    "turbo": Settings(
        steps=0.3,
        reuse=Reuse(guidance=3, references=4, warm_up=2),
        half_vae=True,
        fp8_products=True,
        quantized_attention=True,
    ),
}
"""For models that nothing was measured for."""
