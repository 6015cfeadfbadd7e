"""What is measured: model sizes, video shapes and steps, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from vap.cost.arithmetic import TransformerSize
from vap.shapes import Compression, Family, PixelShape

_COMPRESSION = Compression(temporal=4, spatial=8, patch=(1, 2, 2))
_WAN_CHANNELS, _COGVIDEOX_CHANNELS = 36, 32


@dataclass(frozen=True, slots=True)
class ImageEncoderSize:
    """A CLIP vision encoder (Wan): ``(image / patch)² + 1`` tokens."""

    width: int
    layers: int
    heads: int
    image: int = 224
    patch: int = 14


@dataclass(frozen=True, slots=True)
class Size:
    """One thing to measure.

    Attributes:
        name: What to call it on the command line.
        family: Which variant.
        transformer: Configuration of the transformer, as in its ``config.json``.
        vae: Configuration of the VAE.
        text_layers: Layers of the text encoder. It is as wide as the transformer expects; a real
            one has 24, and takes under a second of a generation of minutes.
        image_encoder: Of Wan.
        shape: Video in pixels.
        steps: Denoising steps; every one has a conditional and an unconditional pass.
        guidance_scale: As released.
        needs_gpu: Weights are made on the device and never written.
    """

    name: str
    family: Family
    transformer: Mapping[str, Any]
    vae: Mapping[str, Any]
    text_layers: int
    image_encoder: ImageEncoderSize | None
    shape: PixelShape
    steps: int
    guidance_scale: float
    needs_gpu: bool = False

    @property
    def compression(self) -> Compression:
        """Of VAE and patches, the same for all."""
        return _COMPRESSION

    @property
    def text_width(self) -> int:
        """Width of the text encoder's output."""
        return self.transformer["text_dim" if self.family == "wan" else "text_embed_dim"]

    @property
    def transformer_size(self) -> TransformerSize:
        """What the cost model needs to know."""
        return TransformerSize.of(dict(self.transformer), self.family)

    def with_height(self, height: int) -> Size:
        """The same model, made for another height."""
        transformer = dict(self.transformer)
        if self.family == "cogvideox":
            # Its learned positions are of one size.
            transformer["sample_height"] = height // _COMPRESSION.spatial
        shape = replace(self.shape, height=height)
        return replace(self, shape=shape, transformer=MappingProxyType(transformer))


def _wan_transformer(
    heads: int, head_dim: int, blocks: int, feed_forward: int, text: int, image: int, every: int
) -> Mapping[str, Any]:
    return MappingProxyType(
        {
            "patch_size": [1, 2, 2],
            "num_attention_heads": heads,
            "attention_head_dim": head_dim,
            "in_channels": _WAN_CHANNELS,
            "out_channels": 16,
            "text_dim": text,
            "freq_dim": 256,
            "ffn_dim": feed_forward,
            "num_layers": blocks,
            "image_dim": image,
            "added_kv_proj_dim": heads * head_dim,
            "block_idx_with_mot_ref": list(range(0, blocks, every)),
        }
    )


def _cogvideox_transformer(
    heads: int, head_dim: int, blocks: int, text: int, shape: PixelShape
) -> Mapping[str, Any]:
    return MappingProxyType(
        {
            "num_attention_heads": heads,
            "attention_head_dim": head_dim,
            "in_channels": _COGVIDEOX_CHANNELS,
            "out_channels": 16,
            "time_embed_dim": 512,
            "text_embed_dim": text,
            "num_layers": blocks,
            "sample_height": shape.height // _COMPRESSION.spatial,
            "sample_width": shape.width // _COMPRESSION.spatial,
            "sample_frames": shape.frames,
            "use_rotary_positional_embeddings": True,
            "use_learned_positional_embeddings": True,
            "block_idx_with_mot_ref": list(range(blocks - 1)),
        }
    )


def _wan_vae(base: int, widths: list[int], depth: int) -> Mapping[str, Any]:
    return MappingProxyType(
        {"base_dim": base, "dim_mult": widths, "num_res_blocks": depth, "z_dim": 16}
    )


def _cogvideox_vae(widths: list[int], depth: int, groups: int) -> Mapping[str, Any]:
    return MappingProxyType(
        {
            "block_out_channels": widths,
            "layers_per_block": depth,
            "norm_num_groups": groups,
            "latent_channels": 16,
            "scaling_factor": 0.7,
            "down_block_types": ["CogVideoXDownBlock3D"] * 4,
            "up_block_types": ["CogVideoXUpBlock3D"] * 4,
        }
    )


_TINY_SHAPE, _MID_SHAPE = PixelShape(9, 48, 64), PixelShape(17, 240, 256)
_WAN_SHAPE, _COGVIDEOX_SHAPE = PixelShape(49, 480, 832), PixelShape(49, 480, 720)
# Fewer channels than four would make the normalization over them ill-conditioned in float32.
_SMALL_WAN_VAE = _wan_vae(4, [1, 1, 1, 1], 1)
_SMALL_COGVIDEOX_VAE = _cogvideox_vae([4, 4, 4, 4], 1, 2)

SIZES: Mapping[str, Size] = MappingProxyType(
    {
        size.name: size
        for size in (
            Size(
                "tiny",
                "wan",
                _wan_transformer(2, 32, 4, 176, text=32, image=24, every=2),
                _SMALL_WAN_VAE,
                1,
                ImageEncoderSize(24, 3, 2, image=28),
                _TINY_SHAPE,
                steps=2,
                guidance_scale=5.0,
            ),
            Size(
                "tiny-cogvideox",
                "cogvideox",
                _cogvideox_transformer(2, 32, 4, 32, _TINY_SHAPE),
                _SMALL_COGVIDEOX_VAE,
                1,
                None,
                _TINY_SHAPE,
                steps=2,
                guidance_scale=6.0,
            ),
            # 17 frames of 240×256 are 5·15·16 = 1,200 tokens a stream.
            Size(
                "cpu-mid-wan",
                "wan",
                _wan_transformer(8, 64, 12, 1408, text=512, image=320, every=4),
                _SMALL_WAN_VAE,
                2,
                ImageEncoderSize(320, 4, 5),
                _MID_SHAPE,
                steps=4,
                guidance_scale=5.0,
            ),
            Size(
                "cpu-mid-cogvideox",
                "cogvideox",
                _cogvideox_transformer(8, 64, 12, 512, _MID_SHAPE),
                _SMALL_COGVIDEOX_VAE,
                2,
                None,
                _MID_SHAPE,
                steps=3,
                guidance_scale=6.0,
            ),
            Size(
                "wan-14b",
                "wan",
                _wan_transformer(40, 128, 40, 13824, text=4096, image=1280, every=4),
                _wan_vae(96, [1, 2, 4, 4], 2),
                1,
                ImageEncoderSize(1280, 32, 16),
                _WAN_SHAPE,
                steps=50,
                guidance_scale=5.0,
                needs_gpu=True,
            ),
            Size(
                "cogvideox-5b",
                "cogvideox",
                _cogvideox_transformer(48, 64, 42, 4096, _COGVIDEOX_SHAPE),
                _cogvideox_vae([128, 256, 256, 512], 3, 32),
                1,
                None,
                _COGVIDEOX_SHAPE,
                steps=50,
                guidance_scale=6.0,
                needs_gpu=True,
            ),
        )
    }
)
