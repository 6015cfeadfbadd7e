"""Products and attention that quantize as they go, where a GPU gains by it: not yet measured."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from vap.extras import require

_FP8_CAPABILITY = (8, 9)
# Below this width, quantizing the input costs more than the product gains.
_LEAST_WIDTH = 1024


def can_multiply_fp8(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a device is a GPU with fp8 units, a model on it in bfloat16, and torchao there."""
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    able = torch.cuda.get_device_capability(device) >= _FP8_CAPABILITY
    return able and dtype == torch.bfloat16 and importlib.util.find_spec("torchao") is not None


def use_fp8_products(blocks: Iterable[nn.Module]) -> None:
    """Let the large linear layers of blocks compute in fp8.

    Weights have a scale for each row, inputs one for each token, found as they come. Unlike
    :func:`vap.acceleration.quantize.quantize`, which saves memory, this saves time.

    Args:
        blocks: Of a transformer, on a GPU, in bfloat16.

    Raises:
        MissingExtraError: If torchao is missing.
    """
    library: Any = require("torchao.quantization", extra="quant", purpose="multiply in fp8")
    config = library.Float8DynamicActivationFloat8WeightConfig(granularity=library.PerRow())
    for block in blocks:
        library.quantize_(block, config, filter_fn=_is_large)


def quantized_attention(device: torch.device) -> str | None:
    """Name of an attention kernel that quantizes queries and keys, or None without one."""
    if device.type == "cuda" and importlib.util.find_spec("sageattention") is not None:
        return "sage"
    return None


def _is_large(module: nn.Module, name: str) -> bool:
    """Whether a layer is worth it: linear, wide, and no part of a norm."""
    if type(module) is not nn.Linear or any(part.startswith("norm") for part in name.split(".")):
        return False
    return min(module.in_features, module.out_features) >= _LEAST_WIDTH
