"""Small clips go through Wan's VAE whole, not some frames at a time.

diffusers takes four frames or one latent frame at once, which bounds memory and costs time. A
causal convolution over all frames computes the same, to rounding.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanResample, patchify, unpatchify
from diffusers.models.autoencoders.vae import DecoderOutput
from torch import Tensor

# Elements of a call's largest activation up to which whole was faster on a CPU: above, what one
# layer leaves for the next falls out of the processor's cache.
LARGEST = 1_500_000


def use_whole_clips(vae: Any) -> None:
    """Let Wan's VAE take small clips whole from now on; larger ones as before."""
    if not isinstance(vae, AutoencoderKLWan) or "_encode" in vars(vae):
        return
    for layer in vae.modules():
        if type(layer) is WanResample:
            layer.__class__ = WholeResample
    vae._encode, vae._decode = MethodType(_encode, vae), MethodType(_decode, vae)


class WholeResample(WanResample):
    """Resampling of a clip from its first frame on, if there is no cache to continue."""

    def forward(
        self, x: Tensor, feat_cache: list[Any] | None = None, feat_idx: list[int] | None = None
    ) -> Tensor:
        """``[B, C, T, H, W]``; the first frame stays one frame in time."""
        if feat_cache is not None:
            return super().forward(x, feat_cache, feat_idx)
        if self.mode == "upsample3d" and x.shape[2] > 1:
            x = torch.cat([x[:, :, :1], self._doubled(x[:, :, 1:])], dim=2)
        x = super().forward(x)
        if self.mode == "downsample3d" and x.shape[2] > 1:
            x = torch.cat([x[:, :, :1], self.time_conv(x)], dim=2)
        return x

    def _doubled(self, later: Tensor) -> Tensor:
        """Two frames for each of ``[B, C, T, H, W]``, which the convolution makes as channels."""
        pairs = self.time_conv(later).unflatten(1, (2, -1))
        return pairs.movedim(1, 3).flatten(2, 3)


def _encode(vae: AutoencoderKLWan, x: Tensor) -> Tensor:
    """Moments of a clip ``[B, 3, T, H, W]``."""
    if not _fits(vae, len(x) * x.shape[2], x.shape[3], x.shape[4], vae.config.base_dim):
        return AutoencoderKLWan._encode(vae, x)
    if vae.config.patch_size is not None:
        x = patchify(x, patch_size=vae.config.patch_size)
    # As in chunks of four after the first frame: what is left over at the end is not looked at.
    frames = 1 + (x.shape[2] - 1) // 4 * 4
    return vae.quant_conv(vae.encoder(x[:, :, :frames]))


def _decode(vae: AutoencoderKLWan, z: Tensor, return_dict: bool = True) -> Any:
    """Pixels of latents ``[B, C, F, h, w]``."""
    frames = 1 + (z.shape[2] - 1) * vae.config.scale_factor_temporal
    height, width = (cells * vae.config.scale_factor_spatial for cells in z.shape[3:])
    base = vae.config.decoder_base_dim or vae.config.base_dim
    if not _fits(vae, len(z) * frames, height, width, base):
        return AutoencoderKLWan._decode(vae, z, return_dict)
    video = vae.decoder(vae.post_quant_conv(z), first_chunk=True)
    if vae.config.patch_size is not None:
        video = unpatchify(video, patch_size=vae.config.patch_size)
    video = video.clamp(-1.0, 1.0)
    return DecoderOutput(sample=video) if return_dict else (video,)


def _fits(vae: AutoencoderKLWan, frames: int, height: int, width: int, channels: int) -> bool:
    """Whether so many frames in pixels are few enough; diffusers' tiles are its own business."""
    patch = vae.config.patch_size or 1
    elements = frames * (height // patch) * (width // patch) * channels
    return not vae.use_tiling and elements <= LARGEST
