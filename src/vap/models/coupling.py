"""A block that may have an expert twin, and how target and references meet in it.

They meet in joint attention; :mod:`vap.training.methods.streams` installs what training compares
with it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn
from torch.utils.hooks import RemovableHandle

from vap.models.attention import Coupling

EXPERT_SUFFIX = "_mot_ref"


class CoupledBlock:
    """Mixed into a stock block: the expert that comes and goes.

    Target and references meet in self-attention only. Everything else each stream does with its
    own weights and its own conditions. Constructor arguments are those of the stock block.
    """

    stock_block: ClassVar[type[nn.Module]]
    joint_processor: ClassVar[type]
    expert_parts: ClassVar[tuple[str, ...]]
    # Adds the reference stream to the target's, where the streams are coupled by addition.
    addition: RemovableHandle | None = None

    def __init__(self, *sizes: Any, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self._design = sizes, options
        self.attn1: Any
        self.attn1.set_processor(self.joint_processor())
        self.has_expert = self.is_last_expert = False

    def add_expert(self) -> None:
        """Add the expert: the modules of a second stock block, freshly initialized."""
        sizes, options = self._design
        twin = self.stock_block(*sizes, **options)
        for name in self.expert_parts:
            setattr(self, name + EXPERT_SUFFIX, getattr(twin, name))
        # A tuple keeps the peer out of attn1's own modules, hence out of the state dict.
        self.attn1.expert = (twin.attn1,)
        self.has_expert = True

    def remove_expert(self) -> None:
        """Take the expert out again, however it is coupled."""
        if self.has_expert:
            for name in self.expert_parts:
                delattr(self, name + EXPERT_SUFFIX)
            del self.attn1.expert
        self.has_expert = self.is_last_expert = False
        before = self.attn1.processor
        if before.coupling == "joint":
            return
        joint = self.joint_processor()
        joint._attention_backend = before._attention_backend
        joint._parallel_config = before._parallel_config
        self.attn1.set_processor(joint)
        if self.addition is not None:
            self.addition.remove()
            del self.residual_mot_ref  # type: ignore[attr-defined]
            self.addition = None


def check_joint(coupling: Coupling, done: str) -> None:
    """Refuse what is only done to an expert in joint attention."""
    if coupling != "joint":
        raise ValueError(
            f"An expert whose coupling is {coupling!r} cannot be {done}: neither a checkpoint nor "
            "an expert file says how it is coupled, and both are read as joint. Keep the "
            "alternative.safetensors of its training, which load_alternative reads."
        )
