"""Products and convolutions of the CPU by oneDNN, where torch would choose something slower.

For float32 torch calls MKL, which leaves half of an AVX-512 processor that is not Intel's unused;
its attention is built on the same products, and in bfloat16 on slower ones. oneDNN comes with
torch as well and has no such preference. Results are equal to rounding.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.activations import GELU
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import CogVideoXSafeConv3d
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanCausalConv3d,
    WanRMS_norm,
    WanUpsample,
)
from torch import nn

_PRECISIONS = (torch.float32, torch.bfloat16)
_PLAIN_TENSORS = (torch.Tensor, nn.Parameter)
# Scores that are held at once, 1.25 MiB: they stay in a core's cache while they are normalized.
_SCORES = 320_000
# Scores of a head up to which all heads go at once: calling is slower than computing there.
_SMALL = 2**16


def is_available() -> bool:
    """Whether this build of torch has the operators that are used here."""
    operators = torch.ops.mkldnn
    return torch.backends.mkldnn.is_available() and hasattr(operators, "_linear_pointwise")


def use_onednn(module: nn.Module) -> int:
    """Let a module's linear layers, the GELUs after them and VAE convolutions run by oneDNN.

    Layers stay what they are (parameters, names, hooks, adapters that wrap them); only plain
    ones are touched, not subclasses such as quantized layers. Where gradients are wanted, or on
    another device, they compute as before.

    Args:
        module: A model in float32 or bfloat16.

    Returns:
        How many layers were changed.
    """
    changed = 0
    for layer in module.modules():
        replacement = _REPLACEMENTS.get(type(layer))
        if replacement is not None:
            layer.__class__ = replacement
            changed += 1
    return changed


def undo_onednn(module: nn.Module) -> None:
    """Return to torch's own choice of library."""
    stock = {replacement: layer for layer, replacement in _REPLACEMENTS.items()}
    for layer in module.modules():
        if type(layer) in stock:
            layer.__class__ = stock[type(layer)]


class OneDnnLinear(nn.Linear):
    """A linear layer that runs by oneDNN where it can."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - as in the parent
        """``[…, in]`` to ``[…, out]``."""
        if not _runs_here(input, self.weight):
            return super().forward(input)
        return _product(input, self.weight, self.bias)


class OneDnnGelu(GELU):
    """A linear layer and the GELU after it in one operator."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """``[…, in]`` to ``[…, out]``."""
        projection = self.proj
        plain = type(projection) is OneDnnLinear and not _hooked(projection)
        if not plain or not _runs_here(hidden_states, projection.weight):
            return super().forward(hidden_states)
        return torch.ops.mkldnn._linear_pointwise(
            hidden_states, projection.weight, projection.bias, "gelu", [], self.approximate
        )


class _OneDnnConvolution(nn.Conv3d):
    """A convolution that runs by oneDNN whatever its size."""

    def _conv_forward(
        self,
        input: torch.Tensor,  # noqa: A002 - as in the parent
        weight: torch.Tensor,
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        # Torch takes a loop over samples instead for inputs that it thinks small, at a tenth of
        # the speed; it measures them without their width.
        plain = self.padding_mode == "zeros" and not isinstance(self.padding, str)
        if not plain or not _runs_here(input, weight):
            return super()._conv_forward(input, weight, bias)
        sizes = list(self.padding), list(self.stride), list(self.dilation)
        return torch.ops.mkldnn._convolution_pointwise(
            input, weight, bias, *sizes, self.groups, "none", [], ""
        )


class OneDnnWanConvolution(_OneDnnConvolution, WanCausalConv3d):
    """A convolution of Wan's VAE."""


class OneDnnCogVideoXConvolution(_OneDnnConvolution, CogVideoXSafeConv3d):
    """A convolution of CogVideoX's VAE."""


class QuickWanNorm(WanRMS_norm):
    """The normalization of Wan's VAE without torch's vector norm, slow across channels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[B, C, …]``, normalized over the channels in float32."""
        if not self.channel_first or not _runs_here(x, self.gamma):
            return super().forward(x)
        wide = x.float()
        length = wide.square().sum(dim=1, keepdim=True).sqrt_().clamp_min_(1e-12)
        return (wide / length).to(x.dtype) * self.scale * self.gamma + self.bias


class QuickWanUpsample(WanUpsample):
    """Every cell twice in both directions, without the way through float32."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[B, C, H, W]``; the same bits as in the parent."""
        if self.mode != "nearest-exact" or self.scale_factor != (2.0, 2.0):
            return super().forward(x)
        batch, channels, height, width = x.shape
        twice = x[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2)
        return twice.reshape(batch, channels, 2 * height, 2 * width)


_REPLACEMENTS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: OneDnnLinear,
    GELU: OneDnnGelu,
    WanCausalConv3d: OneDnnWanConvolution,
    CogVideoXSafeConv3d: OneDnnCogVideoXConvolution,
    WanRMS_norm: QuickWanNorm,
    WanUpsample: QuickWanUpsample,
}


def onednn_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Full attention on a CPU, head by head and some rows of queries at a time, or all at once.

    Scores are computed and normalized in float32; in bfloat16 their weights are rounded before
    they meet the values, as in torch's own kernel.

    Args:
        query: ``[B, N, heads, d]``.
        key: ``[B, M, heads, d]``.
        value: Likewise.

    Returns:
        ``[B, N, heads, d]``.
    """
    if not _runs_here(query, key):
        attended = F.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        )
        return attended.transpose(1, 2)
    scaled = query.float() * query.shape[-1] ** -0.5
    if query.shape[1] * key.shape[1] <= _SMALL:
        return _attend_heads(scaled, key.float(), value)
    output = torch.empty_like(query, memory_format=torch.contiguous_format)
    for sample in range(len(query)):
        for head in range(query.shape[2]):
            queries = scaled[sample, :, head].contiguous()
            keys = key[sample, :, head].float().contiguous()
            columns = value[sample, :, head].t().contiguous()
            _attend_head(queries, keys, columns, output[sample, :, head])
    return output


def _attend_heads(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Attention of all heads: ``[B, N, heads, d]``, keys and values ``[B, M, heads, d]``."""
    batch = len(queries)
    rows, columns, read = (
        tokens.transpose(1, 2).flatten(0, 1) for tokens in (queries, keys, values)
    )
    scores = torch.bmm(rows, columns.transpose(1, 2))
    weights = torch.softmax(scores, dim=-1, out=scores).to(read.dtype)
    return torch.bmm(weights, read).unflatten(0, (batch, -1)).transpose(1, 2)


def _attend_head(
    queries: torch.Tensor, keys: torch.Tensor, columns: torch.Tensor, output: torch.Tensor
) -> None:
    """Attention of one head: ``[N, d]``, ``[M, d]``, values ``[d, M]``, written to ``[N, d]``."""
    count = max(1, _SCORES // len(keys))
    for start in range(0, len(queries), count):
        rows = slice(start, start + count)
        scores = _product(queries[rows], keys)
        torch.softmax(scores, dim=-1, out=scores)
        output[rows] = _product(scores.to(columns.dtype), columns)


def _product(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Any:
    """``rows · weightᵀ + bias``."""
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")


def _runs_here(tokens: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether an operator that has no gradient and no other device may take these."""
    if type(weight) not in _PLAIN_TENSORS:  # quantized, or spread over processes
        return False
    wants_gradient = torch.is_grad_enabled() and (tokens.requires_grad or weight.requires_grad)
    same = tokens.dtype == weight.dtype and tokens.dtype in _PRECISIONS
    return same and tokens.is_cpu and weight.is_cpu and not wants_gradient and tokens.numel() > 0


def _hooked(layer: nn.Module) -> bool:
    """Whether something wants to be called when this layer is (offloading, adapters, tests)."""
    hooks = chain(layer._forward_hooks, layer._forward_pre_hooks)
    return any(True for _ in hooks) or "forward" in vars(layer)
