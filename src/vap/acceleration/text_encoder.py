"""A text encoder that is in memory only while it is needed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from vap.files.components import load_component
from vap.files.folders import weight_files
from vap.files.weights import settle

# Bytes of a weight that are in main memory at once on their way to an accelerator.
_READ_BYTES = 64 << 20


def text_encoder_on_demand(folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    """A text encoder without weights, which it reads from its folder when it is called or saved.

    On a CPU it is read whole, and freed by :func:`release_before`; for an accelerator it is read
    layer by layer, each time that it is called, so main memory has some of one layer at once.
    """
    encoder = load_component(folder, "text_encoder", dtype=dtype, device_map="meta")
    _unload(encoder, device)

    def read(*_: Any) -> None:
        if is_unloaded(encoder):
            stored = load_component(folder, "text_encoder", dtype=dtype)
            settle(stored)
            encoder.load_state_dict(stored.state_dict(), assign=True)

    if device.type == "cpu":
        encoder.register_forward_pre_hook(read)
    else:
        _read_by_layer(encoder, weight_files(folder / "text_encoder"))
    encoder.register_state_dict_pre_hook(read)
    return encoder


def _read_by_layer(encoder: Any, files: Iterable[Path]) -> None:
    """Let each layer's weights come from the files when it runs, and go when it has run."""
    stored: dict[str, Any] = {}
    for path in files:
        file = safe_open(path, framework="pt")
        stored |= dict.fromkeys(file.keys(), file)
    tied = encoder._tied_weights_keys or {}
    for path, layer in encoder.named_modules():
        own = {leaf: weight for leaf, weight in layer._parameters.items() if weight is not None}
        sources = {}
        for leaf in own:
            name = f"{path}.{leaf}" if path else leaf
            name = name if name in stored else tied.get(name, name)
            sources[leaf] = stored[name].get_slice(name)
        if own:
            layer.register_forward_pre_hook(partial(_fill, own, sources))
            layer.register_forward_hook(partial(_empty, own), always_call=True)


def _fill(own: dict[str, Any], sources: dict[str, Any], layer: nn.Module, *_: Any) -> None:
    for leaf, source in sources.items():
        weight = torch.empty_like(own[leaf], memory_format=torch.contiguous_format)
        rows = max(1, _READ_BYTES * len(weight) // weight.nbytes)
        for start in range(0, len(weight), rows):
            weight[start : start + rows] = source[start : start + rows]
        layer._parameters[leaf] = nn.Parameter(weight, requires_grad=False)


def _empty(own: dict[str, Any], layer: nn.Module, *_: Any) -> None:
    layer._parameters.update(own)


def release_before(transformer: nn.Module, encoder: nn.Module) -> None:
    """Free a text encoder's weights as soon as denoising starts: by then it has done its work."""

    def release(*_: Any) -> None:
        if not is_unloaded(encoder):
            _unload(encoder, torch.device("cpu"))

    transformer.register_forward_pre_hook(release)


def is_unloaded(module: nn.Module) -> bool:
    """Whether a module's parameters have shapes only."""
    parameter = next(module.parameters())
    return parameter.numel() > 1 and parameter.untyped_storage().nbytes() <= parameter.itemsize


def _unload(module: nn.Module, device: torch.device) -> None:
    """Let every parameter show one number everywhere, so that device and precision stay known."""
    shapes = {
        name: torch.zeros((), dtype=tensor.dtype, device=device).expand(tensor.shape)
        for name, tensor in module.state_dict().items()
    }
    module.load_state_dict(shapes, assign=True)
