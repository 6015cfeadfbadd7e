"""How the streams of target and references meet: jointly, or in a way that training compares.

The others are installed by :mod:`vap.training.methods.streams`.
"""

from __future__ import annotations

from typing import Any

from vap.models.attention import Coupling


def couple_jointly(block: Any) -> None:
    """Undo another coupling of a block whose expert is out, with all that it added to the block."""
    before = block.attn1.processor
    if before.coupling == "joint":
        return
    joint = block.joint_processor()
    joint._attention_backend = before._attention_backend
    joint._parallel_config = before._parallel_config
    block.attn1.set_processor(joint)
    if block.addition is not None:
        block.addition.remove()
        del block.residual_mot_ref
        block.addition = None


def check_joint(coupling: Coupling, done: str) -> None:
    """Refuse what is only done to an expert in joint attention."""
    if coupling != "joint":
        raise ValueError(
            f"An expert whose coupling is {coupling!r} cannot be {done}: neither a checkpoint nor "
            "an expert file says how it is coupled, and both are read as joint. Keep the "
            "alternative.safetensors of its training, which load_alternative reads."
        )
