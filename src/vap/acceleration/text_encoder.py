"""A text encoder that is in memory only while it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from vap.components import load_component
from vap.weights import settle


def text_encoder_on_demand(folder: Path, dtype: torch.dtype) -> Any:
    """A text encoder without weights, which it reads from its folder when it is first called.

    Until then, and again after :func:`release_before`, its parameters have their shapes and no
    memory, see :func:`is_hollow`. It is read as well when its state is asked for, as for saving.

    Args:
        folder: Of the pipeline.
        dtype: Precision to read it in.
    """
    encoder = load_component(folder, "text_encoder", dtype=dtype, device_map="meta")
    _hollow_out(encoder)

    def read(*_: Any) -> None:
        if is_hollow(encoder):
            stored = load_component(folder, "text_encoder", dtype=dtype)
            settle(stored)
            encoder.load_state_dict(stored.state_dict(), assign=True)

    encoder.register_forward_pre_hook(read)
    encoder.register_state_dict_pre_hook(read)
    return encoder


def release_before(transformer: nn.Module, encoder: nn.Module) -> None:
    """Free a text encoder's weights as soon as denoising starts: by then it has done its work."""

    def release(*_: Any) -> None:
        if not is_hollow(encoder):
            _hollow_out(encoder)

    transformer.register_forward_pre_hook(release)


def is_hollow(module: nn.Module) -> bool:
    """Whether a module's parameters have shapes only."""
    parameter = next(module.parameters())
    return parameter.numel() > 1 and parameter.untyped_storage().nbytes() <= parameter.itemsize


def _hollow_out(module: nn.Module) -> None:
    """Let every parameter show one number everywhere, so that device and precision stay known."""
    shapes = {
        name: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
        for name, tensor in module.state_dict().items()
    }
    module.load_state_dict(shapes, assign=True)
