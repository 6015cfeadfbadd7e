"""Layers of the CPU that run by the kernels that are fastest there, see :mod:`.kernels`."""

from __future__ import annotations

from itertools import chain

import torch
from diffusers.models.activations import GELU
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import CogVideoXSafeConv3d
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanCausalConv3d,
    WanRMS_norm,
    WanUpsample,
)
from torch import nn

from vap.acceleration.kernels import (
    PRECISIONS,
    convolution,
    fastest_kernels,
    linear,
    linear_gelu,
    runs_here,
)


def use_onednn(module: nn.Module) -> int:
    """Let linear layers, the GELUs after them and VAE convolutions run by the fastest kernels.

    Layers stay what they are (parameters, names, hooks, adapters); subclasses such as quantized
    layers are left alone. With gradients, or on another device, they compute as before.
    """
    for dtype in {each.dtype for each in module.parameters()}.intersection(PRECISIONS):
        fastest_kernels(dtype)
    changed = 0
    for layer in module.modules():
        replacement = _REPLACEMENTS.get(type(layer))
        if replacement is not None:
            layer.__class__ = replacement
            changed += 1
    return changed


class OneDnnLinear(nn.Linear):
    """A linear layer that runs by the fastest kernel where it can."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - as in the parent
        """``[…, in]`` to ``[…, out]``."""
        if not runs_here(input, self.weight):
            return super().forward(input)
        return linear(input, self.weight, self.bias)


class OneDnnGelu(GELU):
    """A linear layer and the GELU after it, in one operator where that is fastest."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """``[…, in]`` to ``[…, out]``."""
        projection = self.proj
        plain = type(projection) is OneDnnLinear and not _hooked(projection)
        if not plain or not runs_here(hidden_states, projection.weight):
            return super().forward(hidden_states)
        return linear_gelu(hidden_states, projection.weight, projection.bias, self.approximate)


class _OneDnnConvolution(nn.Conv3d):
    """A convolution that runs by the fastest kernel whatever its size."""

    def _conv_forward(
        self,
        input: torch.Tensor,  # noqa: A002 - as in the parent
        weight: torch.Tensor,
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        plain = self.padding_mode == "zeros" and not isinstance(self.padding, str)
        if not plain or not runs_here(input, weight):
            return super()._conv_forward(input, weight, bias)
        sizes = self.stride, self.padding, self.dilation, self.groups
        return convolution(input, weight, bias, *sizes)


class OneDnnWanConvolution(_OneDnnConvolution, WanCausalConv3d):
    """A convolution of Wan's VAE."""


class OneDnnCogVideoXConvolution(_OneDnnConvolution, CogVideoXSafeConv3d):
    """A convolution of CogVideoX's VAE."""


class QuickWanNorm(WanRMS_norm):
    """The normalization of Wan's VAE without torch's vector norm, slow across channels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[B, C, …]``, normalized over the channels in float32."""
        if not self.channel_first or not runs_here(x, self.gamma):
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


def _hooked(layer: nn.Module) -> bool:
    """Whether something must be called when this layer is (offloading, adapters, tests)."""
    hooks = chain(layer._forward_hooks, layer._forward_pre_hooks)
    return any(True for _ in hooks) or "forward" in vars(layer)
