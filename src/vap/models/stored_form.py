"""A transformer in the form in which it is stored: plain weights under its configuration's names.

Quantized weights, adapters or fused projections would load as another model, or as none.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin
from torch import nn

from vap.files.weights import disk_errors, shape_difference
from vap.models.attention import check_joint

_FUSED = "its projections are fused. Call unfuse_qkv_projections() first"
# What tells in the names of weights what was done to them; the first that is found is said.
_DONE = {
    "scale": "its weights are quantized. Load the model without quantize, and with more "
    "memory if memory is given",
    "base_layer": "it has adapters. Call unload_lora_weights() first, and fuse_lora() before "
    "that to keep their effect",
    "to_qkv": _FUSED,
    "to_kv": _FUSED,
    "to_added_kv": _FUSED,
}


class StoredFormMixin:
    """Mixed into a transformer with an expert: written as it is stored, or not at all."""

    def check_stored_form(self) -> None:
        """Refuse to write a model that would load as another one."""
        check_joint(self.coupling, "written")  # type: ignore[attr-defined]
        if getattr(self, "hf_quantizer", None) is None:
            check_form(self.state_dict(), self._stored_shapes(), "This model")  # type: ignore[attr-defined]

    # A pipeline reads from its signature what may be handed on (shards, variants).
    @functools.wraps(ModelMixin.save_pretrained, assigned=())
    def save_pretrained(self, save_directory: str | Path, *args: Any, **options: Any) -> Any:
        """Write the model as diffusers does."""
        self.check_stored_form()
        with disk_errors(Path(save_directory)):
            return super().save_pretrained(save_directory, *args, **options)  # type: ignore[misc]

    def check_mergeable(self) -> None:
        """Refuse to merge anything into quantized weights."""
        if any(map(_is_narrow, self.parameters())):  # type: ignore[attr-defined]
            raise ValueError(
                "LoRAs cannot be merged into quantized weights (from quantize, a memory plan or "
                "GGUF). Leave the LoRA unfused, or load the model without quantization. A "
                "distilled LoRA needs the latter."
            )

    def fuse_lora(self, *args: Any, **options: Any) -> None:
        """Merge adapters as diffusers does."""
        self.check_mergeable()
        super().fuse_lora(*args, **options)  # type: ignore[misc]

    def _stored_shapes(self, **changes: Any) -> dict[str, torch.Size]:
        """Names and shapes of a stored model of this configuration, with changes to it."""
        with torch.device("meta"):
            model = type(self).from_config({**self.config, **changes})  # type: ignore[attr-defined]
        return {name: tensor.shape for name, tensor in model.state_dict().items()}


def check_form(
    state: Mapping[str, torch.Tensor], stored: Mapping[str, torch.Size], what: str
) -> None:
    """Refuse weights that differ in form from those of a file."""
    difference = shape_difference({n: tensor.shape for n, tensor in state.items()}, stored)
    if difference is not None:
        name, found, wanted = difference
        parts = {part for other in state.keys() - stored.keys() for part in other.split(".")}
        reasons = (reason for part, reason in _DONE.items() if part in parts)
        reason = next(reasons, "it is not as it was loaded. Load it again")
        raise ValueError(
            f"{what} cannot be written: {name} is {found} here, {wanted} in a file; {reason}."
        )
    if any(tensor.is_meta for tensor in state.values()):
        raise ValueError(
            f"{what} cannot be saved from a model with sequential offload. Load the model without "
            "offload."
        )


def _is_narrow(parameter: nn.Parameter) -> bool:
    """Whether a weight is bytes that only its layer can read; other libraries' merge themselves."""
    plain = type(parameter) is nn.Parameter or type(parameter).__name__ == "GGUFParameter"
    return plain and not parameter.is_floating_point()
