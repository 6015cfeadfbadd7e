"""Wan2.1 image-to-video transformer with a reference stream (paper figure 3).

The backbone keeps its stock modules and names. An expert adds, for the reference videos, a
second patch embedding, a second condition embedder and, at the listed depths, a second block;
their parameters carry the released suffix ``_mot_ref`` beside their backbone twins.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import torch
from diffusers.models._modeling_parallel import ContextParallelInput, ContextParallelOutput
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.transformers.transformer_wan import (
    WanTimeTextImageEmbedding,
    WanTransformer3DModel,
)
from diffusers.utils import apply_lora_scale
from torch import nn

from vap.models.attention import check_strength, require_for_each_reference
from vap.models.expert import ExpertMixin, refuse_unsupported
from vap.models.rope import (
    Grid,
    ReferencePositions,
    RotaryTable,
    check_reference_positions,
    reference_grid,
    rotary_table,
)
from vap.models.wan_block import WanVideoAsPromptBlock

_STOCK_ARGUMENTS = tuple(inspect.signature(WanTransformer3DModel.__init__).parameters)[1:]


class WanReferenceRotaryEmbedding(nn.Module):
    """Rotary tables of the reference videos, placed by the temporal bias."""

    def __init__(self, head_dim: int, patch_size: tuple[int, int, int]) -> None:
        super().__init__()
        space = 2 * (head_dim // 6)
        self.dims = (head_dim - 2 * space, space, space)
        self.patch_size = patch_size

    def forward(self, reference: torch.Tensor, mode: ReferencePositions) -> RotaryTable:
        """Tables for latents ``[B, R, C, F, H, W]``: cosines and sines ``[R, N, 1, d]``."""
        count = reference.shape[1]
        axes = [
            torch.arange(size // patch, device=reference.device)
            for size, patch in zip(reference.shape[3:], self.patch_size, strict=True)
        ]
        target = Grid(*axes)
        # As stock, angles are float64 wherever the device has it.
        precision = torch.float32 if reference.device.type == "mps" else torch.float64
        tables = [
            rotary_table(reference_grid(target, i, count, mode), self.dims, precision)
            for i in range(count)
        ]
        cosines, sines = zip(*tables, strict=True)
        return torch.stack(cosines).unsqueeze(2), torch.stack(sines).unsqueeze(2)


class WanVideoAsPromptTransformer3DModel(ExpertMixin, WanTransformer3DModel):
    """Frozen Wan2.1-I2V backbone, guided by an expert that reads reference videos.

    Without an expert, or called without a reference, it is the stock model, bit for bit.

    Args:
        patch_size: Latent cells per token along (frames, height, width).
        num_attention_heads: Heads.
        attention_head_dim: Width of a head.
        in_channels: Latent, mask and condition channels.
        out_channels: Latent channels.
        text_dim: Width of the text encoder's output.
        freq_dim: Width of the sinusoidal time embedding.
        ffn_dim: Hidden width of the feed-forward layers.
        num_layers: Blocks of the backbone.
        cross_attn_norm: Whether cross-attention has its own normalisation.
        qk_norm: Normalisation of queries and keys.
        eps: Epsilon of every normalisation.
        image_dim: Width of the image encoder's output, None without one.
        added_kv_proj_dim: Width of the image tokens in cross-attention.
        rope_max_seq_len: Largest position of the target's rotary table.
        pos_embed_seq_len: Image tokens of a first-last-frame model.
        block_idx_with_mot_ref: Depths that have an expert block; None for no expert.
        attention_head_dim_mot_ref: Null in every release.
        supported_effect_types: Null in every release.
        num_ref_embeddings: Null in every release.
        reference_train_mode: Null in every release.
        reference_positions: Placement of the references, see :mod:`vap.models.rope`.
    """

    _no_split_modules: ClassVar = ["WanVideoAsPromptBlock"]
    _repeated_blocks: ClassVar = ["WanVideoAsPromptBlock"]
    _keep_in_fp32_modules: ClassVar = [
        *WanTransformer3DModel._keep_in_fp32_modules,
        "scale_shift_table_mot_ref",
        "norm2_mot_ref",
    ]
    _cp_plan: ClassVar = {
        "rope": {
            i: ContextParallelInput(split_dim=1, expected_dims=4, split_output=True) for i in (0, 1)
        },
        "reference_rope": {
            i: ContextParallelInput(split_dim=1, expected_dims=4, split_output=True) for i in (0, 1)
        },
        "blocks.0": {
            "hidden_states": ContextParallelInput(split_dim=1, expected_dims=3),
            "reference_hidden_states": ContextParallelInput(split_dim=1, expected_dims=3),
        },
        "proj_out": ContextParallelOutput(gather_dim=1, expected_dims=3),
    }
    _expert_modules: ClassVar = ("patch_embedding", "condition_embedder")
    _blocks_name: ClassVar = "blocks"

    def __init__(
        self,
        patch_size: tuple[int, int, int] = (1, 2, 2),
        num_attention_heads: int = 40,
        attention_head_dim: int = 128,
        in_channels: int = 36,
        out_channels: int = 16,
        text_dim: int = 4096,
        freq_dim: int = 256,
        ffn_dim: int = 13824,
        num_layers: int = 40,
        cross_attn_norm: bool = True,
        qk_norm: str | None = "rms_norm_across_heads",
        eps: float = 1e-6,
        image_dim: int | None = None,
        added_kv_proj_dim: int | None = None,
        rope_max_seq_len: int = 1024,
        pos_embed_seq_len: int | None = None,
        block_idx_with_mot_ref: list[int] | None = None,
        attention_head_dim_mot_ref: int | None = None,
        supported_effect_types: list[str] | None = None,
        num_ref_embeddings: int | None = None,
        reference_train_mode: str | None = None,
        reference_positions: ReferencePositions = "before",
    ) -> None:
        stock = {k: v for k, v in locals().items() if k in _STOCK_ARGUMENTS}
        refuse_unsupported(
            attention_head_dim_mot_ref=attention_head_dim_mot_ref,
            supported_effect_types=supported_effect_types,
            num_ref_embeddings=num_ref_embeddings,
            reference_train_mode=reference_train_mode,
        )
        check_reference_positions(reference_positions)
        # No stock blocks: at full size, making them only to replace them takes minutes.
        super().__init__(**{**stock, "num_layers": 0})
        # The parent registered its own arguments only; this registers them with ours.
        self.register_to_config(
            **stock,
            block_idx_with_mot_ref=None,
            attention_head_dim_mot_ref=None,
            supported_effect_types=None,
            num_ref_embeddings=None,
            reference_train_mode=None,
            reference_positions=reference_positions,
        )
        width = num_attention_heads * attention_head_dim
        self.blocks = nn.ModuleList(
            WanVideoAsPromptBlock(
                width,
                ffn_dim,
                num_attention_heads,
                qk_norm or "rms_norm_across_heads",
                cross_attn_norm,
                eps,
                added_kv_proj_dim,
            )
            for _ in range(num_layers)
        )
        self.reference_rope = WanReferenceRotaryEmbedding(attention_head_dim, patch_size)
        if block_idx_with_mot_ref:
            self.add_expert(block_idx_with_mot_ref)

    def default_expert_depths(self, num_layers: int) -> tuple[int, ...]:
        """Depths of the release: every fourth block."""
        return tuple(range(0, num_layers, 4))

    def _new_expert_module(self, name: str) -> nn.Module:
        """A fresh expert twin of one of the backbone's embeddings."""
        config = self.config
        width = config.num_attention_heads * config.attention_head_dim
        if name == "patch_embedding":
            return nn.Conv3d(config.in_channels, width, config.patch_size, config.patch_size)
        return WanTimeTextImageEmbedding(
            dim=width,
            time_freq_dim=config.freq_dim,
            time_proj_dim=width * 6,
            text_embed_dim=config.text_dim,
            image_embed_dim=config.image_dim,
            pos_embed_seq_len=config.pos_embed_seq_len,
        )

    @apply_lora_scale("attention_kwargs")
    def forward(
        self,
        hidden_states: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        encoder_hidden_states_image: torch.Tensor | None = None,
        reference_hidden_states: torch.Tensor | None = None,
        reference_encoder_hidden_states: torch.Tensor | None = None,
        reference_encoder_hidden_states_image: torch.Tensor | None = None,
        reference_timestep: torch.Tensor | None = None,
        reference_strength: float = 1.0,
        return_dict: bool = True,
        attention_kwargs: dict[str, Any] | None = None,  # noqa: ARG002 - read by the decorator
    ) -> Transformer2DModelOutput | tuple[torch.Tensor]:
        """Predict the velocity of the target.

        Args:
            hidden_states: Target latents, mask and condition, ``[B, C, F, H, W]``.
            timestep: ``[B]``.
            encoder_hidden_states: Target text, ``[B, 512, D]``.
            encoder_hidden_states_image: Target image tokens, ``[B, I, D]``; of a first-last-frame
                backbone those of both images, or as stock ``[2·B, I/2, D]``.
            reference_hidden_states: Clean latents, mask and condition of R references,
                ``[B, R, C, F, H, W]``; None for the stock model.
            reference_encoder_hidden_states: Their texts, ``[B, R, 512, D]``.
            reference_encoder_hidden_states_image: Their image tokens, ``[B, R, I, D]``.
            reference_timestep: ``[B]``; the constant 1 of the release by default.
            reference_strength: 0 … 1, see :func:`vap.models.attention.joint_attention`.
            return_dict: Whether to return an output object or a tuple.
            attention_kwargs: ``scale`` is the LoRA scale.

        Returns:
            Prediction ``[B, C_out, F, H, W]``.

        Raises:
            ValueError: If a reference is given to a model without an expert, or without its own
                text and image tokens, or if the strength is out of range.
        """
        check_strength(reference_strength)
        if reference_strength == 0.0:
            reference_hidden_states = None
        size = hidden_states.shape[2:]
        rotary = self.rope(hidden_states)
        temb, modulation, context = self._embed_conditions(
            self.condition_embedder, timestep, encoder_hidden_states, encoder_hidden_states_image
        )
        hidden_states = _tokens(self.patch_embedding, hidden_states)
        reference = self._embed_reference(
            reference_hidden_states,
            reference_encoder_hidden_states,
            reference_encoder_hidden_states_image,
            reference_timestep,
            like=hidden_states,
        )
        checkpointing = torch.is_grad_enabled() and self.gradient_checkpointing
        reference_tokens, *reference_conditions = reference
        for block in self.blocks:
            arguments = (
                hidden_states,
                context,
                modulation,
                rotary,
                reference_tokens,
                *reference_conditions,
                reference_strength,
            )
            if checkpointing:
                hidden_states, reference_tokens = self._gradient_checkpointing_func(
                    block, *arguments
                )
            else:
                hidden_states, reference_tokens = block(*arguments)
        output = self._head(hidden_states, temb, size)
        return Transformer2DModelOutput(sample=output) if return_dict else (output,)

    def _embed_conditions(
        self,
        embedder: nn.Module,
        timestep: torch.Tensor,
        text: torch.Tensor,
        image: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Time embedding ``[B, D]``, modulation ``[B, 6, D]``, image and text tokens."""
        if image is not None and self.config.pos_embed_seq_len is not None:
            # The stock embedder wants first and last image as neighbours in the batch.
            image = image.reshape(-1, self.config.pos_embed_seq_len // 2, image.shape[-1])
        temb, modulation, text, image = embedder(timestep, text, image)
        context = text if image is None else torch.cat([image, text], dim=1)
        return temb, modulation.unflatten(1, (6, -1)), context

    def _embed_reference(
        self,
        latents: torch.Tensor | None,
        text: torch.Tensor | None,
        image: torch.Tensor | None,
        timestep: torch.Tensor | None,
        like: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None, RotaryTable | None]:
        """Tokens ``[B·R, N, D]``, context, modulation and rotary tables of the references.

        References are folded into the batch, so that each has its own text, image and
        normalisation; only joint attention lays them side by side. No reference is a stream of
        batch zero, which keeps every block's outputs tensors.
        """
        if latents is None:
            return like[:0], None, None, None
        self.require_expert()
        text, image = self._check_reference(latents, text, image)
        count = latents.shape[1]
        if timestep is None:
            timestep = latents.new_ones(latents.shape[0], dtype=torch.int64)
        _, modulation, context = self._embed_conditions(
            self.condition_embedder_mot_ref,
            timestep.repeat_interleave(count),
            text.flatten(0, 1),
            None if image is None else image.flatten(0, 1),
        )
        rotary = self.reference_rope(latents, self.config.reference_positions)
        tokens = _tokens(self.patch_embedding_mot_ref, latents.flatten(0, 1))
        return tokens, context, modulation, rotary

    def _check_reference(
        self, latents: torch.Tensor, text: torch.Tensor | None, image: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Text and image tokens of the references, found to be one set for each."""
        if latents.ndim != 6:  # noqa: PLR2004 - [B, R, C, F, H, W]
            message = (
                f"reference_hidden_states has shape {list(latents.shape)}; it must be "
                "[B, R, C, F, H, W]. A single reference has R = 1."
            )
            raise ValueError(message)
        references = latents.shape[:2]
        text = require_for_each_reference(
            "reference_encoder_hidden_states", text, references, "text, [B, R, L, D]"
        )
        if self.config.image_dim is None:
            return text, None
        image = require_for_each_reference(
            "reference_encoder_hidden_states_image",
            image,
            references,
            "image tokens, [B, R, I, D]",
        )
        return text, image

    def _head(
        self, hidden_states: torch.Tensor, temb: torch.Tensor, size: torch.Size
    ) -> torch.Tensor:
        """Output normalisation, projection and unpatching to ``[B, C_out, F, H, W]``."""
        table = self.scale_shift_table.to(temb.device) + temb.unsqueeze(1)
        shift, scale = (part.to(hidden_states.device) for part in table.chunk(2, dim=1))
        normalised = self.norm_out(hidden_states.float()) * (1 + scale) + shift
        output = self.proj_out(normalised.type_as(hidden_states))
        patch = self.config.patch_size
        cells = [extent // step for extent, step in zip(size, patch, strict=True)]
        output = output.reshape(len(output), *cells, *patch, -1).permute(0, 7, 1, 4, 2, 5, 3, 6)
        return output.flatten(6, 7).flatten(4, 5).flatten(2, 3)


def _tokens(patch_embedding: nn.Module, latents: torch.Tensor) -> torch.Tensor:
    """Patch latents ``[B, C, F, H, W]`` into tokens ``[B, N, D]``."""
    return patch_embedding(latents).flatten(2).transpose(1, 2).contiguous()
