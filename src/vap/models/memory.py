"""What does not change during a generation: computed at the first step, read at all later ones.

A generation runs the same transformer some hundred times with the same texts, images and
references; only the noisy latents and the time differ. Whoever generates holds a memory for each
pass of guidance and hands it to every forward. It is filled inside the forward, where hooks have
brought the weights to where they are needed (offloading), and lives as long as its holder.

It belongs to one set of inputs, known by identity: with others it starts anew. Weights, adapters
and the inputs' contents must stay as they are meanwhile; who changes them takes a new one, as a
denoiser does when adapters were switched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import torch

from vap.models.attention import Projections

ReferenceUse: TypeAlias = Literal["run", "record", "read"]
"""What a step does with the reference stream: runs it, runs it and keeps what the target reads of
it (its keys and values in every coupled block), or reads what was kept and does not run it."""


@dataclass(eq=False, slots=True)
class BlockMemory:
    """What one block keeps; all None until its first forward.

    Attributes:
        context: Keys and values of the target's cross-attention, ``[B, L, heads, d]`` each, of the
            text and then, where there are any, of the image tokens.
        reference_context: Likewise for the references, ``[B·R, L, heads, d]``.
        reference: Queries, keys and values of the references: always where no target has been
            mixed in yet, which is in the first coupled block; elsewhere of the last step that
            recorded them.
        use: What this step does with the reference stream.
    """

    context: tuple[torch.Tensor, ...] | None = None
    reference_context: tuple[torch.Tensor, ...] | None = None
    reference: Projections | None = None
    use: ReferenceUse = "run"

    @property
    def reads(self) -> bool:
        """Whether this step reads what an earlier one kept of the references."""
        return self.use == "read"

    @property
    def keeps(self) -> bool:
        """Whether what the target reads of the references is kept here, or was."""
        return self.use != "run"

    def drop_queries(self) -> None:
        """Keep keys and values of the references alone: they do not attend again."""
        assert self.reference is not None
        self.reference = self.reference.without_queries()


@dataclass(eq=False, slots=True)
class StepMemory:
    """What the passes of guidance share at one step.

    Until text comes in, both passes compute the same. With cross-attention (Wan) that is all of
    the first block's self-attention.

    Attributes:
        attended: Its output, None until the first pass has been there.
        use: What the passes do with the reference stream; a pass that reads for the first time
            records.
    """

    attended: Any = None
    use: ReferenceUse = "run"


@dataclass(eq=False, slots=True)
class GenerationMemory:
    """What a transformer keeps in one pass of guidance.

    Attributes:
        conditions: Embedded texts, images and references, and rotary tables.
        blocks: Of every block.
        inputs: What all this was computed from.
        recorded: Whether every coupled block holds what the target reads of the references.
    """

    conditions: Any = None
    blocks: list[BlockMemory] = field(default_factory=list)
    inputs: tuple[object, ...] = ()
    recorded: bool = False

    def of(self, inputs: tuple[object, ...], blocks: int) -> GenerationMemory:
        """This memory, emptied if it was filled from other objects than these.

        Args:
            inputs: Everything that the kept values depend on.
            blocks: Number of blocks of the transformer.
        """
        if len(inputs) != len(self.inputs) or not all(map(_same, inputs, self.inputs)):
            # The inputs are kept too, so that no other object can take their identity.
            self.inputs, self.conditions, self.recorded = inputs, None, False
            self.blocks = [BlockMemory() for _ in range(blocks)]
        return self

    def use_references(self, use: ReferenceUse) -> None:
        """Tell every block what the coming forward does with the reference stream."""
        if use == "read" and not self.recorded:
            use = "record"
        for block in self.blocks:
            block.use = use
        self.recorded = use != "run"


def _same(given: object, kept: object) -> bool:
    """Whether an input is the one that was there before: the same tensor, or an equal shape."""
    return given is kept or (isinstance(given, torch.Size) and given == kept)
