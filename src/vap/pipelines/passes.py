"""How the predictions that guidance of a step compares are run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import torch

CONDITIONAL, UNCONDITIONAL, UNREFERENCED = "cond", "uncond", "unreferenced"
"""The prediction itself, that of the negative prompt, and that of the backbone alone."""


@dataclass(frozen=True, eq=False, slots=True)
class Pass:
    """One forward of the transformer at every step: all that it is given but noise and time."""

    context: str  # Name that diffusers' caches know the pass by
    conditions: Mapping[str, torch.Tensor | None]  # Arguments with the batch first, [B, …] or None
    shared: Mapping[str, Any]  # Arguments that do not differ between passes and videos
    copies: int = 1  # How often the noisy latents are repeated along the batch


class GuidancePasses(Protocol):
    """A way to run the passes of guidance: both here, one after the other or at once, or apart."""

    def arrange(self, passes: Sequence[Pass]) -> tuple[Pass, ...]:
        """What this process runs at every step; asked once for the same conditions."""
        ...

    def collect(self, predictions: Sequence[torch.Tensor], passes: int) -> Sequence[torch.Tensor]:
        """One prediction ``[B, …]`` for each of so many given passes, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class SequentialPasses:
    """One pass after the other: half the activations of a batch of both."""

    def arrange(self, passes: Sequence[Pass]) -> tuple[Pass, ...]:
        """The passes as they are."""
        return tuple(passes)

    def collect(self, predictions: Sequence[torch.Tensor], passes: int) -> Sequence[torch.Tensor]:
        """The predictions as they are."""
        assert len(predictions) == passes
        return predictions


@dataclass(frozen=True, slots=True)
class BatchedPasses:
    """All passes in one batch: fewer, larger matrix products."""

    def arrange(self, passes: Sequence[Pass]) -> tuple[Pass, ...]:
        """A pass for each set of arguments: those that are given the same make one batch."""
        alike = groupby(passes, lambda one: one.conditions.keys())
        groups = [tuple(group) for _, group in alike]
        return tuple(join_passes(group) if len(group) > 1 else group[0] for group in groups)

    def collect(self, predictions: Sequence[torch.Tensor], passes: int) -> Sequence[torch.Tensor]:
        """The batches, split again."""
        size = sum(map(len, predictions)) // passes
        return [part for together in predictions for part in together.split(size)]


def join_passes(passes: Sequence[Pass]) -> Pass:
    """One pass whose batch is those of several, in their order."""
    first = passes[0]
    conditions = {
        name: None if tensor is None else torch.cat([_condition(one, name) for one in passes])
        for name, tensor in first.conditions.items()
    }
    return Pass(
        context="_".join(sorted(one.context for one in passes)),
        conditions=conditions,
        shared=first.shared,
        copies=sum(one.copies for one in passes),
    )


def _condition(one: Pass, name: str) -> torch.Tensor:
    tensor = one.conditions[name]
    assert tensor is not None
    return tensor
