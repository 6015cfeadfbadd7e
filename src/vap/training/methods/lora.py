"""LoRA on attention projections: of the expert, of the backbone, or of both for preferences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file
from torch import Tensor, nn

from vap.files.weights import LORA_FILE, save_tensors, shape_difference
from vap.models.lora_file import in_layer_names, lora_path, stored_alpha
from vap.training.methods.expert_method import keep_expert
from vap.training.methods.single_branch import tie_branches
from vap.training.parallel import is_writer, whole_state
from vap.training.tuning_config import ModelConfig

_PROJECTIONS = r"\.(to_q|to_k|to_v|to_out\.0)"
_TARGETS = {
    "expert": r".*\battn\d_mot_ref" + _PROJECTIONS,
    "backbone": r".*\battn\d" + _PROJECTIONS,
    "all": r".*\battn\d(_mot_ref)?" + _PROJECTIONS,
}


class LoraStrategy:
    """Train low-rank updates; the file that is written loads with ``load_lora_weights``."""

    def __init__(
        self,
        where: Literal["expert", "backbone", "all"],
        *,
        single_branch: bool = False,
        reads_references: bool = True,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        self.where = where
        self.single_branch = single_branch
        self.reads_references = reads_references
        self.notes = notes or {}

    def prepare(self, model: Any, config: ModelConfig) -> None:
        """Add the updates; nothing else trains."""
        if self.single_branch:
            tie_branches(model, config)
        elif self.reads_references:
            keep_expert(model, config)
        else:
            model.remove_expert()
        model.requires_grad_(False)
        rank = config.lora_rank
        model.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=_TARGETS[self.where]))
        if config.lora is not None:
            for name, update in model.named_parameters():
                if _is_update(name):
                    # What is trained further is not rounded to the precision of what is frozen.
                    update.data = update.data.float()
            _continue_from(config.lora, model, self._named(model.state_dict()))

    def save(self, model: Any, output: Path) -> None:
        """Write the updates under diffusers' names."""
        updates = self._named(whole_state(model, _is_update))
        if is_writer():
            save_tensors(updates, output / LORA_FILE, self.notes or {"format": "pt"})

    def _named(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The updates among some tensors, by their names in a file."""
        return {
            "transformer." + name.replace(".default.", "."): tensor
            for name, tensor in state.items()
            # In a single branch each update has two names, of one tensor.
            if _is_update(name) and not (self.single_branch and "_mot_ref" in name)
        }


@contextmanager
def without_updates(model: nn.Module) -> Iterator[None]:
    """The model as it was before its updates."""
    layers = [layer for layer in model.modules() if isinstance(layer, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(enabled=False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(enabled=True)


def _continue_from(path: Path, model: nn.Module, updates: Mapping[str, Tensor]) -> None:
    """Give new updates the values of those that were trained before."""
    file = lora_path(path)
    lora = in_layer_names(load_file(file), model, str(path), stored_alpha(file))
    stored = {f"transformer.{name}": tensor for name, tensor in lora.updates.items()}
    stored.update(lora.changes)
    difference = shape_difference(
        {name: tensor.shape for name, tensor in stored.items()},
        {name: update.shape for name, update in updates.items()},
    )
    if difference is not None:
        name, found, wanted = difference
        raise ValueError(
            f"{path} does not fit this method, rank and model: {name} is {found} there and "
            f"{wanted} here."
        )
    with torch.no_grad():
        for name, update in updates.items():
            update.copy_(stored[name])


def _is_update(name: str) -> bool:
    return ".lora_A." in name or ".lora_B." in name
