"""Attention of accelerators whose own kernels fail at some sizes; on none measured yet."""

from __future__ import annotations

import logging
from typing import ClassVar

import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

_logger = logging.getLogger(__name__)

# Bytes of scores in float32 that Metal computes at once: its kernel fails beyond 2³².
_SCORES_BYTES = 1 << 30
_WITHOUT_PLAN: set[tuple[object, ...]] = set()


# An operator of its own, so that the fallback works in compiled blocks, too.
@torch.library.custom_op("vap::cudnn_attention", mutates_args=())
def _cudnn(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attention of ``[B, heads, N, d]`` by cuDNN, or torch's choice where it has no plan."""
    sizes = (query.device, query.dtype, query.shape, key.shape)
    if sizes not in _WITHOUT_PLAN:
        try:
            with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
                return F.scaled_dot_product_attention(query, key, value).contiguous()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            _WITHOUT_PLAN.add(sizes)
            _logger.warning(
                "cuDNN's attention cannot run at %s (%s); using torch's own choice.",
                list(query.shape),
                str(error).splitlines()[0],
            )
    return F.scaled_dot_product_attention(query, key, value).contiguous()


@_cudnn.register_fake
def _(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
    return torch.empty_like(query)


class CudnnAttention:
    """cuDNN's kernel, tried once at each size, for tokens stored head by head."""

    heads_first: ClassVar = True

    def __call__(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attention of ``[B, N, heads, d]``."""
        query, key, value = (tensor.transpose(1, 2).contiguous() for tensor in (query, key, value))
        learns = query.requires_grad or key.requires_grad or value.requires_grad
        if learns and torch.is_grad_enabled():
            return F.scaled_dot_product_attention(query, key, value).transpose(1, 2)
        return _cudnn(query, key, value).transpose(1, 2)


def chunked_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attention of ``[B, N, heads, d]``, of so many queries at once that the scores fit."""
    query, key, value = (tensor.transpose(1, 2) for tensor in (query, key, value))
    scores = 4 * len(query) * query.shape[1] * key.shape[2]
    parts = [
        F.scaled_dot_product_attention(part, key, value)
        for part in query.split(max(1, _SCORES_BYTES // scores), dim=2)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2)
