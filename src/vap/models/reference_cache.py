"""What does not change during a generation: computed at the first step, read at all later ones.

Give each pass of guidance a memory of its own; the processors of attention fill and read it. Other
inputs (by identity) restart it. Changed weights or adapters need a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import torch

from vap.models.attention import Projections

ReferenceUse: TypeAlias = Literal["run", "record", "read"]
"""What a step does with the reference stream: runs it, runs it and keeps what the target reads of
it (its keys and values in every coupled block), or reads what was kept and does not run it."""


@dataclass(eq=False, slots=True)
class StepMemory:
    """What the passes of guidance share at one step.

    Until text comes in, both compute the same: in Wan, the first block's self-attention.
    """

    attended: Any = None
    use: ReferenceUse = "run"


@dataclass(eq=False, slots=True)
class ContextMemory:
    """Keys and values of a cross-attention, ``[B, L, heads, d]`` each; None until computed."""

    keys: tuple[torch.Tensor, ...] | None = None


@dataclass(eq=False, slots=True)
class BlockMemory:
    """What one block keeps."""

    context: ContextMemory = field(default_factory=ContextMemory)
    reference_context: ContextMemory = field(default_factory=ContextMemory)
    reference: Projections | None = None
    keeps: bool = False
    reads: bool = False
    constant: bool = False
    step: StepMemory | None = None

    def use_references(self, use: ReferenceUse) -> None:
        """Prepare for a step."""
        self.keeps = self.constant or use != "run"
        self.reads = self.constant or use == "read"
        if not self.reads:
            self.reference = None

    def keep(self, reference: Projections) -> None:
        """Keep the projections of the references, if this step does."""
        if self.keeps:
            self.reference = reference if self.constant else reference.without_queries()


@dataclass(eq=False, slots=True)
class GenerationMemory:
    """What a transformer keeps in one pass of guidance."""

    conditions: Any = None
    blocks: list[BlockMemory] = field(default_factory=list)
    inputs: tuple[object, ...] = ()
    recorded: bool = False

    def of(self, inputs: tuple[object, ...], blocks: int) -> None:
        """Empty this memory if it was filled from other objects than these."""
        if len(inputs) != len(self.inputs) or not all(map(_same, inputs, self.inputs)):
            # The inputs are kept too, so that no other object can take their identity.
            self.inputs, self.conditions, self.recorded = inputs, None, False
            self.blocks = [BlockMemory() for _ in range(blocks)]

    def use_references(self, use: ReferenceUse, constant: int | None = None) -> ReferenceUse:
        """Prepare every block for what the coming forward does with the reference stream."""
        if use == "read" and not self.recorded:
            use = "record"
        for depth, block in enumerate(self.blocks):
            block.constant = depth == constant
            block.use_references(use)
        self.recorded = use != "run"
        return use

    @contextmanager
    def within(self, blocks: Iterable[Any], step: StepMemory | None = None) -> Iterator[None]:
        """Let the attention of a transformer's blocks keep and read what is kept, for a while."""
        attentions: list[tuple[Any, BlockMemory | ContextMemory]] = []
        for depth, (block, memory) in enumerate(zip(blocks, self.blocks, strict=True)):
            memory.step = None if depth else step
            attentions.append((block.attn1, memory))
            for name, context in (
                ("attn2", memory.context),
                ("attn2_mot_ref", memory.reference_context),
            ):
                if hasattr(block, name):
                    attentions.append((getattr(block, name), context))
        for attention, kept in attentions:
            attention.processor.memory = kept
        try:
            yield
        finally:
            for attention, _ in attentions:
                attention.processor.memory = None


def _same(given: object, kept: object) -> bool:
    """Whether an input is the one that was there before: the same tensor, or an equal shape."""
    return given is kept or (isinstance(given, torch.Size) and given == kept)
