"""Weights in fp8 with scales beside them, as ComfyUI and its extensions store them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch

_FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)
_FORMATS = ("float8_e4m3fn", "float8_e5m2")
_WEIGHT_SCALES = ("scale_weight", "weight_scale")
# Of activations, for products in fp8; weights are the same without.
_INPUT_SCALES = ("scale_input", "input_scale")


def without_scales(
    tensors: Mapping[str, torch.Tensor], path: Path, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Multiply fp8 weights by the scales stored beside them; other tensors stay as they are.

    Args:
        tensors: By name, with scales named like ``….scale_weight`` or ``….weight_scale``.
        path: Where they come from.
        dtype: Of the products.
    """
    kept = dict(tensors)
    scaled = kept.pop("scaled_fp8", None) is not None
    for name in tensors:
        layer, _, leaf = name.rpartition(".")
        if leaf in _INPUT_SCALES:
            del kept[name]
        elif leaf == "comfy_quant":
            _check_format(kept.pop(name), name, path)
        elif leaf in _WEIGHT_SCALES:
            scaled = True
            weight = f"{layer}.weight"
            kept[weight] = _product(kept.get(weight), kept.pop(name), name, path, dtype)
    unscaled = [name for name, tensor in kept.items() if tensor.dtype in _FP8]
    if scaled and unscaled:
        raise ValueError(
            f"{path} has fp8 weights with scales, and {unscaled[0]} without one. Copy it again."
        )
    return kept


def _product(
    weight: torch.Tensor | None, scale: torch.Tensor, name: str, path: Path, dtype: torch.dtype
) -> torch.Tensor:
    whole = scale.numel() == 1
    rows = weight is not None and tuple(scale.shape) in {weight.shape[:1], (weight.shape[0], 1)}
    if weight is None or weight.dtype not in _FP8 or not (whole or rows):
        raise ValueError(
            f"{path} has the scale {name} {tuple(scale.shape)}, which is none of an fp8 weight "
            "or of its rows. Give a file in fp8 with one scale a weight, in bfloat16, or a .gguf."
        )
    factor = scale.float().reshape(-1, *[1] * (weight.ndim - 1))
    return (weight.float() * factor).to(dtype)


def _check_format(note: torch.Tensor, name: str, path: Path) -> None:
    """Refuse what ComfyUI notes as quantized in another way."""
    stated = json.loads(bytes(note.flatten().to(torch.uint8).tolist()))
    if not isinstance(stated, dict) or stated.get("format") not in _FORMATS:
        raise ValueError(
            f"{path} says in {name} that the weight is stored as {stated!r:.80}; read are "
            f"{' and '.join(_FORMATS)}. Give a file in one of these, in bfloat16, or a .gguf."
        )
