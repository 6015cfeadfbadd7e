"""Which attention kernel a pipeline runs: the fastest exact one that the device has."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_dispatch import (
    _HUB_KERNELS_REGISTRY,
    AttentionBackendName,
    _AttentionBackendRegistry,
)

from vap.acceleration.accelerator_attention import CudnnAttention, chunked_attention
from vap.acceleration.kernels import (
    FLOAT32,
    ONEDNN,
    PRECISIONS,
    TORCH,
    fastest_kernels,
    float32_attention,
    onednn_attention,
)

AttentionFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

CUDNN, CHUNKED = "cudnn", "chunked"
# Kernels of ours, and the type of device that each is for.
_OURS: dict[str, tuple[str, AttentionFunction]] = {
    ONEDNN: ("cpu", onednn_attention),
    FLOAT32: ("cpu", float32_attention),
    CUDNN: ("cuda", CudnnAttention()),
    CHUNKED: ("mps", chunked_attention),
}
_HOPPER = (9, 0)
# Kernels that approximate: they quantize queries and keys.
_INEXACT = ("sage",)


def choose_attention(device: torch.device, dtype: torch.dtype) -> str:
    """Name of the fastest exact kernel for a device and a precision; on GPUs not yet measured.

    FlashAttention 3 on a Hopper where it is installed, cuDNN's on other recent NVIDIA GPUs in half
    precision, some queries at a time on Apple's, on a CPU what was measured there.
    """
    if device.type == "cpu" and dtype in PRECISIONS:
        fastest = fastest_kernels(dtype).attention
        return AttentionBackendName.NATIVE.value if fastest == TORCH else fastest
    half = dtype in {torch.float16, torch.bfloat16}
    if device.type == "cuda" and half and torch.version.hip is None:
        capability = torch.cuda.get_device_capability(device)
        if capability == _HOPPER and importlib.util.find_spec("flash_attn_interface"):
            return AttentionBackendName._FLASH_3.value
        if capability == _HOPPER and has_hub_kernel(AttentionBackendName._FLASH_3_HUB):
            return AttentionBackendName._FLASH_3_HUB.value
        if capability >= (8, 0) and torch.backends.cudnn.is_available():
            return CUDNN
    if device.type == "mps":
        return CHUNKED
    return AttentionBackendName.NATIVE.value


def has_hub_kernel(backend: AttentionBackendName) -> bool:
    """Whether a kernel of the Hub has been downloaded, and the package that loads it is there."""
    from huggingface_hub.constants import HF_HUB_CACHE

    if importlib.util.find_spec("kernels") is None:
        return False
    name = _HUB_KERNELS_REGISTRY[backend].repo_id.replace("/", "--")
    return any(Path(HF_HUB_CACHE).glob(f"*--{name}/snapshots/*"))


def check_attention(name: str, device: torch.device) -> None:
    """Refuse a kernel that is unknown, approximate, or not for this device."""
    known = [*_OURS, *(backend.value for backend in AttentionBackendName)]
    exact = [other for other in known if not any(part in other for part in _INEXACT)]
    if name not in exact:
        reason = "approximates" if name in known else "is unknown"
        raise ValueError(f"attention={name!r} {reason}. Use one of: {', '.join(exact)}.")
    if name in _OURS and device.type != _OURS[name][0]:
        raise ValueError(
            f"attention={name!r} is for {_OURS[name][0]}; the model is on {device}. Leave out "
            "attention, and vap chooses the fastest kernel."
        )


def use_attention(transformer: Any, name: str) -> None:
    """Let a transformer's attention run by a kernel."""
    if name in _OURS:
        for module in transformer.modules():
            processor = getattr(module, "processor", None)
            if processor is not None and hasattr(processor, "_attention_backend"):
                _, processor._attention_backend = _OURS[name]
        return
    # Choosing a backend for one model also changes diffusers' default for every other.
    default, _ = _AttentionBackendRegistry.get_active_backend()
    try:
        transformer.set_attention_backend(name)
    finally:
        _AttentionBackendRegistry.set_active_backend(default)
