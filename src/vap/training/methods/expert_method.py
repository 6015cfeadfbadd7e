"""The paper's method: the expert trains, the backbone is frozen (section 3.2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vap.files.shared import EXPERT_FILE
from vap.models.expert import is_expert_name, name_at_depth
from vap.models.expert_file import read_expert, read_expert_info, write_expert
from vap.training.parallel import is_writer, whole_state
from vap.training.tuning_config import ModelConfig


class ExpertStrategy:
    """Train the expert."""

    reads_references = True

    def prepare(self, model: Any, config: ModelConfig) -> None:
        """Make sure that there is an expert, and freeze the rest."""
        ensure_expert(model, config)
        model.freeze_backbone()

    def save(self, model: Any, output: Path) -> None:
        """Write :data:`EXPERT_FILE`."""
        state = whole_state(model, is_expert_name)
        if is_writer():
            write_expert(
                output / EXPERT_FILE,
                state,
                transformer=type(model).__name__,
                depths=model.expert_depths,
                reference_positions=model.config.reference_positions,
            )


def ensure_expert(model: Any, config: ModelConfig) -> None:
    """Load the recipe's expert, keep the model's own, or copy a new one from the backbone."""
    if config.expert is not None:
        model.load_expert(config.expert)
        if len(config.expert_blocks) > len(model.expert_depths):
            model.extend_expert(config.expert_blocks)
        elif config.expert_blocks:
            model.move_expert(config.expert_blocks)
    elif not model.expert_depths or config.expert_blocks:
        new_expert(model, config, config.expert_blocks or None)


def keep_expert(model: Any, config: ModelConfig) -> None:
    """Load the recipe's expert or keep the model's own, for methods that do not write it."""
    if config.expert is not None:
        model.load_expert(config.expert)
    if not model.expert_depths:
        raise ValueError(
            "This stage trains a LoRA for a model with a trained expert, and this model has no "
            "expert. Give an expert with model.expert (start, in the stage expert), or a "
            "model.start with an expert."
        )
    if config.expert_blocks and sorted(config.expert_blocks) != sorted(model.expert_depths):
        raise ValueError(
            f"expert_blocks is {list(config.expert_blocks)}, and the expert has its blocks at "
            f"{list(model.expert_depths)}: a LoRA cannot move the expert. Leave out expert_blocks "
            "(in a recipe with a base, set it to [])."
        )


def restore_precision(model: Any, path: Path) -> None:
    """Give an expert that trains on the values of its file.

    It was loaded in the precision of the backbone, which is that of what is frozen.
    """
    before, after = read_expert_info(path).depths, model.expert_depths
    moved = len(before) == len(after)
    places = dict(zip(before, after, strict=True)) if moved else {depth: depth for depth in before}
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    with torch.no_grad():
        for name, tensor in read_expert(path).items():
            here = name_at_depth(name, places, model._blocks_name)
            if here in trained:
                trained[here].copy_(tensor)


def new_expert(model: Any, config: ModelConfig, depths: tuple[int, ...] | None) -> None:
    """Put a copy of the backbone in place of any expert."""
    model.remove_expert()
    # Made without weights: those of the backbone follow, in its precision and place.
    with torch.device("meta"):
        model.add_expert(depths)
    model.register_to_config(reference_positions=config.reference_positions)
    model.initialize_expert()
