"""Attention over part of the keys, and how parts become the whole: the online softmax.

With the logarithm of its softmax's denominator, a part is weighted against others without any
approximation (Milakov and Gimelshein, arXiv 1805.02867).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

_CUDNN_CAPABILITY = 9  # Hopper: cuDNN's kernels are the faster ones from here on
_FUSED_DTYPES = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class Part:
    """Attention to some of the keys ``[B, N, heads, d]``, and its log-sum ``[B, N, heads, 1]``."""

    output: torch.Tensor
    log_sum: torch.Tensor

    def joined(self, other: Part) -> Part:
        """Attention of the same queries to the keys of both, in float32."""
        log_sum = torch.logaddexp(self.log_sum, other.log_sum)
        mine, others = (part.output * torch.exp(part.log_sum - log_sum) for part in (self, other))
        return Part(mine + others, log_sum)


def attend_part(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, backend: Any = None
) -> Part:
    """Attention of ``[B, N, heads, d]`` to some of the keys, by a fused kernel if there is one.

    On CUDA, ``backend`` names such as cuDNN and FlashAttention are followed.
    """
    heads_first = [tensor.transpose(1, 2) for tensor in (query, key, value)]
    device = query.device
    if device.type == "cpu":
        output, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*heads_first)
    elif device.type == "cuda" and query.dtype in _FUSED_DTYPES:
        output, log_sum = _on_cuda(*heads_first, cudnn=_prefers_cudnn(backend, device))
    else:
        output, log_sum = plain_attention(*heads_first)
    return Part(output.transpose(1, 2), log_sum.transpose(1, 2).unsqueeze(-1))


def plain_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention by its formula, for devices whose kernels do not return the log-sum.

    Heads come before tokens here: ``[B, heads, N, d]``. Output and log-sum are float32.
    """
    query, key, value = (tensor.float() for tensor in (query, key, value))
    scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-1, -2)
    log_sum = scores.logsumexp(dim=-1)
    return torch.exp(scores - log_sum.unsqueeze(-1)) @ value, log_sum


def _on_cuda(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, cudnn: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    if not cudnn:
        output, log_sum, *_ = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)
        return output, log_sum
    output, log_sum, *_ = torch.ops.aten._scaled_dot_product_cudnn_attention(
        # cuDNN's operator reads other layouts wrongly.
        query.contiguous(),
        key.contiguous(),
        value.contiguous(),
        attn_bias=None,
        compute_log_sumexp=True,
    )
    # [B, heads, N] or, since torch 2.9, [B, heads, N, 1].
    return output, log_sum.reshape(output.shape[:-1])


def _prefers_cudnn(backend: Any, device: torch.device) -> bool:
    name = backend if isinstance(backend, str) else ""
    if "cudnn" in name or "flash" in name:
        return "cudnn" in name
    if torch.version.hip is not None:
        return False  # ROCm has no cuDNN, and numbers its own devices from 9 on
    return torch.cuda.get_device_capability(device)[0] >= _CUDNN_CAPABILITY
