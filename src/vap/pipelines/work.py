"""What a denoising step computes, and what it takes from earlier steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line knows profiles before it loads diffusers
    from vap.models.reference_cache import ReferenceUse


@dataclass(frozen=True, slots=True)
class StepWork:
    """One step's work."""

    model: bool = True  # Whether the transformer runs at all; else its predictions are carried on
    # Whether the unconditional pass runs; else the last difference of both passes stands for
    # today's
    guidance: bool = True
    # What is done with the reference stream, see :mod:`vap.models.reference_cache`
    references: ReferenceUse = "run"


EVERYTHING = StepWork()


@dataclass(frozen=True, slots=True)
class Reuse:
    """How much of a generation is taken from earlier steps.

    The first ``warm_up`` steps compute everything. After them each kind of work is done at every
    k-th step, counted from the end of the warm-up. The last step always runs the transformer, but
    may take over the rest as any other.
    """

    model: int = 1  # k of the transformer; 1 runs it at every step
    # k of the unconditional pass, counted over the steps that run the transformer
    guidance: int = 1
    references: int = 1  # k of the reference stream, the same
    warm_up: int = 1  # Steps at the start that compute everything; at least 1

    def __post_init__(self) -> None:
        for name in ("model", "guidance", "references", "warm_up"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"Reuse({name}={value}): give at least 1, which is no reuse.")

    @property
    def nothing(self) -> bool:
        """Whether every step computes everything."""
        return max(self.model, self.guidance, self.references) == 1

    def schedule(self, steps: int) -> tuple[StepWork, ...]:
        """The work of each of so many steps."""
        return tuple(self._work(index, steps) for index in range(steps))

    def _work(self, index: int, steps: int) -> StepWork:
        place = index - self.warm_up + 1
        if place <= 0 or self.nothing:
            keeps: ReferenceUse = "run" if self.references == 1 else "record"
            return StepWork(references=keeps)
        last = index == steps - 1
        if not last and place % self.model:
            return StepWork(model=False, guidance=False, references="read")
        # Of the steps that run the transformer, not of all.
        ran = -(-place // self.model)
        guidance = ran % self.guidance == 0
        if self.references == 1:
            return StepWork(guidance=guidance)
        return StepWork(guidance=guidance, references="read" if ran % self.references else "record")


NOTHING = Reuse()
