"""A VAE that works through a video strip by strip, in a fraction of the memory.

diffusers blends tiles, which leaves seams. Wan's VAE has attention only where the picture is small:
that part runs on the whole picture, convolutions on strips with the cells around them, so the
result is the same to rounding. CogVideoX normalizes over the picture, and keeps the blending.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanCausalConv3d,
    WanResample,
    WanResidualUpBlock,
    WanUpBlock,
    patchify,
    unpatchify,
)
from diffusers.models.autoencoders.vae import DecoderOutput
from torch import nn

STRIPS = 4
# Frames that the encoder takes at once after the first, and that a convolution looks back.
_CHUNK, _KEPT_FRAMES = 4, 2


def enable_tiling(vae: Any, strips: int = STRIPS) -> None:
    """Have a VAE work strip by strip from now on."""
    if strips < 1:
        raise ValueError(f"strips={strips}; at least one strip is needed.")
    if not isinstance(vae, AutoencoderKLWan):
        # Sizes whose overlaps are whole cells; with others, tiles do not fit together.
        vae.enable_tiling(240, 360, 1 / 6, 1 / 5)
        return
    coder = WanStrips(vae, strips)
    vae._decode, vae._encode = coder.decode, coder.encode


@dataclass(frozen=True, slots=True)
class Strip:
    """Cells ``first`` … ``last`` (exclusive) of a side, read with some around them."""

    first: int
    last: int
    read: slice

    def kept(self, scale: int) -> slice:
        """What is kept of a result that has so many cells for each that was read."""
        start = self.read.start
        return slice((self.first - start) * scale, (self.last - start) * scale)


def strips_of(cells: int, count: int, halo: int) -> list[Strip]:
    """Split a side into strips of nearly the same length."""
    count = min(count, cells)
    bounds = [cells * place // count for place in range(count + 1)]
    return [
        Strip(first, last, slice(max(0, first - halo), min(cells, last + halo)))
        for first, last in pairwise(bounds)
    ]


class WanStrips:
    """Encodes and decodes like the VAE it is made for, in strips."""

    def __init__(self, vae: AutoencoderKLWan, strips: int) -> None:
        self.vae = vae
        self.strips = strips

    def decode(self, z: torch.Tensor, return_dict: bool = True) -> Any:
        """Pixels of latents ``[B, C, F, h, w]``; stands in for the VAE's own ``_decode``."""
        decoder = self.vae.decoder
        small = [decoder.conv_in, decoder.mid_block, decoder.up_blocks[0]]
        large = [*decoder.up_blocks[1:], decoder.norm_out, decoder.nonlinearity, decoder.conv_out]
        latents = self.vae.post_quant_conv(z).split(1, dim=2)
        cells = _in_turn(small, latents)
        axis = -1 if z.shape[-1] >= z.shape[-2] else -2
        size = cells[0].shape[axis]
        reach, unit = _reach(large, growing=True)
        scale = round(1 / unit)
        video: torch.Tensor | None = None
        for strip in strips_of(size, self.strips, math.ceil(reach)):
            frames = _in_turn(large, (_cut(cell, axis, strip.read) for cell in cells))
            kept = [_cut(frame, axis, strip.kept(scale)) for frame in frames]
            if video is None:
                shape = [*kept[0].shape]
                shape[2], shape[axis] = sum(frame.shape[2] for frame in kept), size * scale
                video = kept[0].new_empty(shape)
            place = _cut(video, axis, slice(strip.first * scale, strip.last * scale))
            place.copy_(torch.cat(kept, dim=2))
        assert video is not None
        if self.vae.config.patch_size is not None:
            video = unpatchify(video, patch_size=self.vae.config.patch_size)
        video = video.clamp_(-1.0, 1.0)
        return DecoderOutput(sample=video) if return_dict else (video,)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Moments of a clip ``[B, 3, T, H, W]``; stands in for the VAE's own ``_encode``."""
        encoder = self.vae.encoder
        if self.vae.config.patch_size is not None:
            x = patchify(x, patch_size=self.vae.config.patch_size)
        chunks = [x[:, :, :1]]
        if x.shape[2] > 1:
            chunks += x[:, :, 1:].split(_CHUNK, dim=2)
        halvings = [place for place, layer in enumerate(encoder.down_blocks) if _resamples(layer)]
        after = halvings[-1] + 1
        large = [encoder.conv_in, *encoder.down_blocks[:after]]
        small = [*encoder.down_blocks[after:], encoder.mid_block]
        small += [encoder.norm_out, encoder.nonlinearity, encoder.conv_out]
        reach, unit = _reach(large, growing=False)
        scale = round(unit)
        axis = -1 if x.shape[-1] >= x.shape[-2] else -2
        parts = []
        for strip in strips_of(x.shape[axis] // scale, self.strips, math.ceil(reach / scale)):
            read = slice(strip.read.start * scale, strip.read.stop * scale)
            cells = _in_turn(large, (_cut(chunk, axis, read) for chunk in chunks))
            parts.append([_cut(cell, axis, strip.kept(1)).clone() for cell in cells])
        whole = (torch.cat(chunk, dim=axis) for chunk in zip(*parts, strict=True))
        return self.vae.quant_conv(torch.cat(_in_turn(small, whole), dim=2))


def _in_turn(layers: Sequence[nn.Module], chunks: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Run chunks of a clip through causal layers, each seeing the frames before its own."""
    convolutions = sum(
        isinstance(module, WanCausalConv3d) for layer in layers for module in layer.modules()
    )
    # The layers number their convolutions by counting as they run.
    caches: list[Any] = [None] * convolutions
    return [_through(layers, chunk, caches, first=place == 0) for place, chunk in enumerate(chunks)]


def _through(
    layers: Sequence[nn.Module], chunk: torch.Tensor, caches: list[Any], *, first: bool
) -> torch.Tensor:
    """Run one chunk through the layers, and update the caches."""
    count = [0]
    for layer in layers:
        if isinstance(layer, WanCausalConv3d):
            chunk = _convolve(layer, chunk, caches, count)
        elif isinstance(layer, WanUpBlock | WanResidualUpBlock):
            chunk = layer(chunk, feat_cache=caches, feat_idx=count, first_chunk=first)
        elif any(isinstance(module, WanCausalConv3d) for module in layer.modules()):
            chunk = layer(chunk, feat_cache=caches, feat_idx=count)
        else:
            chunk = layer(chunk)
    return chunk


def _convolve(
    layer: WanCausalConv3d, chunk: torch.Tensor, caches: list[Any], count: list[int]
) -> torch.Tensor:
    """A causal convolution that stands alone, after the last frames of the chunk before."""
    before = caches[count[0]]
    last = chunk[:, :, -_KEPT_FRAMES:].clone()
    if before is not None and last.shape[2] < _KEPT_FRAMES:
        last = torch.cat([before[:, :, -1:], last], dim=2)
    caches[count[0]] = last
    count[0] += 1
    return layer(chunk, before)


def _reach(layers: Sequence[nn.Module], *, growing: bool) -> tuple[float, float]:
    """Measure how far the layers see, and their cell size, in cells of the input."""
    reach, unit = 0.0, 1.0
    for module in (module for layer in layers for module in layer.modules()):
        if isinstance(module, WanCausalConv3d):
            reach += unit * (module.kernel_size[1] // 2)
        elif isinstance(module, WanResample) and module.mode != "none":
            # Its convolution runs where the picture is larger: after growing, before shrinking.
            reach += unit / 2 if growing else unit
            unit *= 0.5 if growing else 2.0
    return reach, unit


def _resamples(layer: nn.Module) -> bool:
    return any(isinstance(module, WanResample) for module in layer.modules())


def _cut(tensor: torch.Tensor, axis: int, cells: slice) -> torch.Tensor:
    return tensor.narrow(axis, cells.start, cells.stop - cells.start)
