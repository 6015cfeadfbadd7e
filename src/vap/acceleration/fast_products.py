"""Products and attention that quantize as they go, where a GPU gains by it: not yet measured."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import Any

import torch
from diffusers.models.attention_dispatch import AttentionBackendName
from torch import nn

from vap.acceleration.attention import has_hub_kernel
from vap.extras import require

_FP8_CAPABILITY, _HOPPER, _BLACKWELL = (8, 9), (9, 0), (10, 0)
# Below this width, quantizing the input costs more than the product gains.
_LEAST_WIDTH = 1024


def can_multiply_fp8(device: torch.device, dtype: torch.dtype, *, compiled: bool) -> bool:
    """Whether a model in bfloat16 on a GPU with fp8 units gains by torchao's products.

    Quantizing inputs costs more than fp8 gains, unless it is compiled or a kernel of mslk.
    """
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    capability = torch.cuda.get_device_capability(device)
    fused = compiled or (capability >= _HOPPER and importlib.util.find_spec("mslk") is not None)
    able = fused and capability >= _FP8_CAPABILITY and dtype == torch.bfloat16
    return able and importlib.util.find_spec("torchao") is not None


def use_fp8_products(blocks: Iterable[nn.Module]) -> None:
    """Let the large linear layers of blocks compute in fp8, which saves time, not memory."""
    library: Any = require("torchao.quantization", extra="quant", purpose="multiply in fp8")
    config = library.Float8DynamicActivationFloat8WeightConfig(granularity=library.PerRow())
    for block in blocks:
        library.quantize_(block, config, filter_fn=_is_large)


def quantized_attention(device: torch.device) -> str | None:
    """Name of an attention kernel that quantizes queries and keys, or None without one."""
    if device.type != "cuda" or torch.version.hip is not None:
        return None
    blackwell = torch.cuda.get_device_capability(device) >= _BLACKWELL
    if blackwell and has_hub_kernel(AttentionBackendName.SAGE_BLACKWELL_HUB):
        return AttentionBackendName.SAGE_BLACKWELL_HUB.value
    if importlib.util.find_spec("sageattention") is not None:
        return AttentionBackendName.SAGE.value
    hub = AttentionBackendName.SAGE_HUB
    return hub.value if has_hub_kernel(hub) else None


def _is_large(module: nn.Module, name: str) -> bool:
    """Whether a layer is worth it: linear, wide, and no part of a norm."""
    if type(module) is not nn.Linear or any(part.startswith("norm") for part in name.split(".")):
        return False
    return min(module.in_features, module.out_features) >= _LEAST_WIDTH
