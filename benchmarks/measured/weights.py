"""Random weights that depend on a tensor's name alone, so that every process makes the same."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from typing import Any, TypeVar

import torch

ModuleT = TypeVar("ModuleT", bound=torch.nn.Module)

_GAIN_SPREAD, _BIAS_SPREAD = 0.1, 0.02
_EMBEDDINGS = ("embed_tokens", "shared", "position_embedding", "class_embedding")


@torch.no_grad()
def fill(name: str, tensor: torch.Tensor) -> None:
    """Draw a weight in place.

    Matrices keep the variance of what they multiply, gains lie around 1 and biases around 0, so
    that a network of any depth gives outputs of an ordinary size.

    Args:
        name: Dotted name of the parameter; the seed.
        tensor: To be overwritten.
    """
    # The prefix of CLIP's names comes and goes with the version of transformers.
    seed = zlib.crc32(name.removeprefix("vision_model.").encode())
    generator = torch.Generator(tensor.device).manual_seed(seed)
    is_vector = sum(extent > 1 for extent in tensor.shape) <= 1
    if any(part in name for part in _EMBEDDINGS):
        tensor.normal_(0.0, 1.0, generator=generator)
    elif is_vector and name.endswith(("weight", "gamma")):
        tensor.normal_(1.0, _GAIN_SPREAD, generator=generator)
    elif is_vector:
        tensor.normal_(0.0, _BIAS_SPREAD, generator=generator)
    else:
        tensor.normal_(0.0, 1 / math.sqrt(_fan_in(tensor)), generator=generator)


def fill_module(module: ModuleT) -> ModuleT:
    """Draw all weights of a module in place and set it to evaluation."""
    for name, parameter in module.named_parameters():
        fill(name, parameter)
    return module.eval().requires_grad_(requires_grad=False)


def create_on(
    device: torch.device,
    dtype: torch.dtype,
    model_class: Any,
    config: dict[str, Any],
    keep_in_float32: Iterable[str] = (),
) -> torch.nn.Module:
    """Build a model whose weights never exist anywhere but on the device.

    Args:
        device: Where.
        dtype: Precision of the weights.
        model_class: A diffusers model class.
        config: Its constructor's arguments.
        keep_in_float32: Names of modules or parameters that stay in float32.
    """
    from accelerate import init_empty_weights
    from accelerate.utils import set_module_tensor_to_device

    kept = set(keep_in_float32)
    with init_empty_weights(include_buffers=False):
        model = model_class.from_config(config)
    for name, parameter in list(model.named_parameters()):
        precision = torch.float32 if kept & set(name.split(".")) else dtype
        weight = torch.empty(parameter.shape, dtype=precision, device=device)
        fill(name, weight)
        set_module_tensor_to_device(model, name, device, value=weight, dtype=precision)
    return model.to(device).eval().requires_grad_(requires_grad=False)


def _fan_in(tensor: torch.Tensor) -> int:
    """Values that enter one output: all axes but the first; the last axis of a table."""
    return max(1, tensor[0].numel())
