"""The paper's baseline: reference tokens go through the backbone itself."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from torch import nn

from vap.files.weights import save_tensors
from vap.models.attention import EXPERT_SUFFIX
from vap.training.methods.expert_method import new_expert
from vap.training.parallel import is_writer, whole_state
from vap.training.tuning_config import ModelConfig


class SingleBranchStrategy:
    """Train the whole backbone on both streams."""

    reads_references = True

    def prepare(self, model: Any, config: ModelConfig) -> None:
        """Tie the branches and let everything train."""
        tie_branches(model, config)
        model.requires_grad_(True)

    def save(self, model: Any, output: Path) -> None:
        """Write ``output/transformer`` with both streams' weights, which any pipeline loads."""
        state = whole_state(model, lambda _: True)
        if is_writer():
            folder = output / "transformer"
            model.save_config(folder)
            # Tied names share memory, which a file may not.
            copies = {name: tensor.cpu().clone() for name, tensor in state.items()}
            save_tensors(copies, folder / "diffusion_pytorch_model.safetensors", {"format": "pt"})


def tie_branches(model: Any, config: ModelConfig) -> None:
    """Make every expert module the backbone's own."""
    new_expert(model, config, tuple(range(len(model.expert_blocks))))
    _tie(model)
    for block in model.expert_blocks:
        _tie(block)
        block.attn1.expert = (block.attn1,)


def _tie(module: nn.Module) -> None:
    """Replace each ``<name>_mot_ref`` of a module by ``<name>``, with a processor of its own."""
    for table in (module._modules, module._parameters):
        for name in [name for name in table if name.endswith(EXPERT_SUFFIX)]:
            own = getattr(module, name.removesuffix(EXPERT_SUFFIX))
            if hasattr(own, "processor"):
                # Processors keep the keys of one stream's text over the steps.
                own = copy.copy(own)
                own.processor = copy.copy(own.processor)
            setattr(module, name, own)
