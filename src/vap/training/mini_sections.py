"""Sections of a mini model's recipes: what is rendered, and how large its networks are."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from vap.synth import Split
from vap.training.sections import Section, Seed


class RenderConfig(Section):
    """Which procedural clips are rendered.

    Attributes:
        conditions: Names of the conditions of ``vap.synth``; empty for all that train.
        height: Pixels, a multiple of 16: the VAE's 8 times the transformer's patch of 2.
        width: Pixels, likewise.
        frames: Frames of a clip, 1 + 4k.
        split: Which conditions and scenes are drawn, see ``vap.synth``.
        varied: Share of the pairs that show a variation of their condition. A caption cannot tell
            all of it, so such pairs are for experts.
        mixed: Share of these that also lie sideways or stand beside another condition.
    """

    conditions: tuple[str, ...] = ()
    height: int = Field(64, gt=0, multiple_of=16)
    width: int = Field(96, gt=0, multiple_of=16)
    frames: int = Field(17, gt=0)
    split: Split = "train"
    varied: float = Field(0.0, ge=0, le=1)
    mixed: float = Field(0.0, ge=0, le=1)

    @field_validator("frames")
    @classmethod
    def _whole_latent_frames(cls, frames: int) -> int:
        below = 1 + 4 * ((frames - 1) // 4)
        if frames != below:
            message = f"the VAE takes 1 + 4k frames; set it to {below} or {below + 4}"
            raise ValueError(message)
        return frames

    @property
    def arguments(self) -> dict[str, Any]:
        """What ``sample_pair`` and ``sample_clip`` of ``vap.synth`` are told."""
        return {**self.model_dump(), "conditions": self.conditions or None}


class AutoencoderConfig(Section):
    """Size of the ``AutoencoderKLWan``: 8× smaller in space (2× by patches), 4× in time."""

    base_dim: int = Field(16, gt=0)
    decoder_base_dim: int = Field(24, gt=0)
    z_dim: int = Field(16, gt=0)
    dim_mult: tuple[int, int, int] = (1, 2, 2)
    num_res_blocks: int = Field(1, gt=0)


class EncoderConfig(Section):
    """Sizes of the text encoder (UMT5) and the image encoder (CLIP vision)."""

    text_dim: int = Field(64, gt=0)
    text_layers: int = Field(2, gt=0)
    text_heads: int = Field(4, gt=0)
    image_dim: int = Field(64, gt=0)
    image_layers: int = Field(2, gt=1)
    image_heads: int = Field(4, gt=0)
    image_size: int = Field(64, gt=0)
    image_patch: int = Field(16, gt=0)
    seed: Seed = 0


class TransformerConfig(Section):
    """Size of the backbone, in the words of ``WanTransformer3DModel``."""

    num_layers: int = Field(6, gt=0)
    num_attention_heads: int = Field(4, gt=0)
    attention_head_dim: int = Field(40, gt=0)
    ffn_dim: int = Field(480, gt=0)
    freq_dim: int = Field(64, gt=0)
    patch_size: tuple[int, int, int] = (1, 2, 2)
