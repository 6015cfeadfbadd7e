"""CogVideoX image-to-video transformer with a reference stream (paper figure 3).

The backbone keeps its stock modules and names; parameters of the expert have the released suffix
``_mot_ref``.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from diffusers import FasterCacheConfig
from diffusers.models._modeling_parallel import ContextParallelInput, ContextParallelOutput
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import CogVideoXPatchEmbed, TimestepEmbedding
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXTransformer3DModel
from diffusers.utils import apply_lora_scale
from torch import nn

from vap.models.attention import require_for_each_reference
from vap.models.cogvideox_block import CogVideoXVideoAsPromptBlock
from vap.models.expert import ExpertMixin, takes_arguments_of
from vap.models.reference_cache import GenerationMemory, ReferenceUse, StepMemory
from vap.models.rope import ReferencePositions, RotaryTable, cogvideox_rotary_tables
from vap.shapes import check_strength

_BATCHED_REFERENCES = ("reference_hidden_states", "reference_encoder_hidden_states")

_SPLIT_TOKENS = ContextParallelInput(split_dim=1, expected_dims=3)
_SPLIT_TABLE = (ContextParallelInput(split_dim=0, expected_dims=2),) * 2


class CogVideoXVideoAsPromptTransformer3DModel(ExpertMixin, CogVideoXTransformer3DModel):
    """Frozen CogVideoX-I2V backbone, guided by an expert that reads reference videos.

    Without an expert, or called without a reference, it is the stock model, bit for bit.
    Arguments are those of diffusers' model, by name, and two of its own; the other ones of the
    release are unset in every checkpoint.

    Args:
        block_idx_with_mot_ref: Depths that have an expert block; None for no expert.
        reference_positions: Placement of the references, see ``vap.models.rope``.
    """

    _no_split_modules: ClassVar = ["CogVideoXVideoAsPromptBlock", "CogVideoXPatchEmbed"]
    _repeated_blocks: ClassVar = ["CogVideoXVideoAsPromptBlock"]
    # Text takes part in self-attention: were it on every rank, the softmax would count it once
    # per rank. So text is split as well; sizes that do not divide need `ulysses_anything`.
    _cp_plan: ClassVar = {
        "transformer_blocks.0": {
            "hidden_states": _SPLIT_TOKENS,
            "encoder_hidden_states": _SPLIT_TOKENS,
            "reference_hidden_states": _SPLIT_TOKENS,
            "reference_encoder_hidden_states": _SPLIT_TOKENS,
        },
        "transformer_blocks.*": {
            "image_rotary_emb": _SPLIT_TABLE,
            "reference_rotary_emb": _SPLIT_TABLE,
        },
        "proj_out": ContextParallelOutput(gather_dim=1, expected_dims=3),
    }
    _expert_modules: ClassVar = ("patch_embed", "time_embedding")
    _blocks_name: ClassVar = "transformer_blocks"

    @takes_arguments_of(CogVideoXTransformer3DModel)
    def __init__(
        self,
        *,
        block_idx_with_mot_ref: list[int] | None = None,
        reference_positions: ReferencePositions = "before",
        attention_head_dim_mot_ref: int | None = None,
        supported_effect_types: list[str] | None = None,
        num_ref_embeddings: int | None = None,
        reference_train_mode: str | None = None,
        ablation_single_encoder: bool = False,
        ablation_residual_addition: bool = False,
        **stock: Any,
    ) -> None:
        super().__init__(
            stock,
            block_idx_with_mot_ref,
            reference_positions,
            attention_head_dim_mot_ref=attention_head_dim_mot_ref,
            supported_effect_types=supported_effect_types,
            num_ref_embeddings=num_ref_embeddings,
            reference_train_mode=reference_train_mode,
            ablation_single_encoder=ablation_single_encoder,
            ablation_residual_addition=ablation_residual_addition,
        )

    def _new_block(self) -> CogVideoXVideoAsPromptBlock:
        config = self.config
        return CogVideoXVideoAsPromptBlock(
            dim=config.num_attention_heads * config.attention_head_dim,
            num_attention_heads=config.num_attention_heads,
            attention_head_dim=config.attention_head_dim,
            time_embed_dim=config.time_embed_dim,
            dropout=config.dropout,
            activation_fn=config.activation_fn,
            attention_bias=config.attention_bias,
            norm_elementwise_affine=config.norm_elementwise_affine,
            norm_eps=config.norm_eps,
        )

    def default_expert_depths(self, num_layers: int) -> tuple[int, ...]:
        """Depths of the release: every block but the last."""
        return tuple(range(max(1, num_layers - 1)))

    def _new_expert_module(self, name: str) -> nn.Module:
        """A fresh expert twin of one of the backbone's embeddings."""
        config = self.config
        width = config.num_attention_heads * config.attention_head_dim
        if name == "time_embedding":
            return TimestepEmbedding(width, config.time_embed_dim, config.timestep_activation_fn)
        return CogVideoXPatchEmbed(
            patch_size=config.patch_size,
            patch_size_t=config.patch_size_t,
            in_channels=config.in_channels,
            embed_dim=width,
            text_embed_dim=config.text_embed_dim,
            bias=config.patch_bias,
            sample_width=config.sample_width,
            sample_height=config.sample_height,
            sample_frames=config.sample_frames,
            temporal_compression_ratio=config.temporal_compression_ratio,
            max_text_seq_length=config.max_text_seq_length,
            spatial_interpolation_scale=config.spatial_interpolation_scale,
            temporal_interpolation_scale=config.temporal_interpolation_scale,
            use_positional_embeddings=not config.use_rotary_positional_embeddings,
            use_learned_positional_embeddings=config.use_learned_positional_embeddings,
        )

    def enable_cache(self, config: Any) -> None:
        """Install a cache as diffusers does; what halves the batch halves the references too."""
        if isinstance(config, FasterCacheConfig):
            name = "_unconditional_conditional_input_kwargs_identifiers"
            config = replace(config, **{name: [*getattr(config, name), *_BATCHED_REFERENCES]})
        super().enable_cache(config)

    def fuse_qkv_projections(self) -> None:
        """Make one projection of query, key and value in every attention of both streams."""
        for module in self.modules():
            if isinstance(module, Attention) and not module.fused_projections:
                module.fuse_projections()

    def unfuse_qkv_projections(self) -> None:
        """Return to separate projections of query, key and value."""
        for module in self.modules():
            if isinstance(module, Attention) and module.fused_projections:
                del module.to_qkv
                module.fused_projections = False

    def rotary_tables(
        self, size: tuple[int, int, int], references: int = 0, device: torch.device | None = None
    ) -> tuple[RotaryTable | None, RotaryTable | None]:
        """Rotary tables for videos of one latent size; made once, they serve every step.

        Returns:
            Cosines and sines of the target ``[N, d]`` and of R references ``[R·N, d]``; None for a
            model without rotary embedding, or without references.
        """
        config, (frames, height, width) = self.config, size
        if not config.use_rotary_positional_embeddings:
            return None, None
        patch, patch_frames = config.patch_size, config.patch_size_t
        base = (config.sample_height // patch, config.sample_width // patch)
        return cogvideox_rotary_tables(
            (-(-frames // (patch_frames or 1)), height // patch, width // patch),
            base if patch_frames is None else None,
            config.attention_head_dim,
            references=references,
            mode=config.reference_positions,
            device=device,
        )

    @apply_lora_scale("attention_kwargs")
    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        timestep: torch.Tensor,
        timestep_cond: torch.Tensor | None = None,
        ofs: torch.Tensor | None = None,
        image_rotary_emb: RotaryTable | None = None,
        reference_hidden_states: torch.Tensor | None = None,
        reference_encoder_hidden_states: torch.Tensor | None = None,
        reference_timestep: torch.Tensor | None = None,
        reference_rotary_emb: RotaryTable | None = None,
        reference_strength: float = 1.0,
        attention_kwargs: dict[str, Any] | None = None,
        return_dict: bool = True,
        memory: GenerationMemory | None = None,
        step: StepMemory | None = None,
    ) -> Transformer2DModelOutput | tuple[torch.Tensor]:
        """Predict the velocity of the target.

        Args:
            hidden_states: Target latents and image condition, ``[B, F, C, H, W]``.
            encoder_hidden_states: Target text, ``[B, L, D]``.
            timestep: ``[B]``.
            timestep_cond: Added to both time embeddings, as in the stock model.
            ofs: Offset condition ``[1]`` of 1.5 image-to-video.
            image_rotary_emb: Target tables ``[N, d]`` from ``rotary_tables``. Without
                references None means unrotated, as in the stock model; with references, missing
                tables are made.
            reference_hidden_states: Clean latents and image condition of R references of the
                target's size, ``[B, R, F, C, H, W]``; None for the stock model.
            reference_encoder_hidden_states: Their texts, ``[B, R, L, D]``.
            reference_timestep: ``[B]``; the target's, as in the release, by default.
            reference_rotary_emb: Their tables ``[R·N, d]``.
            reference_strength: 0 … 1, see ``vap.models.attention.joint_attention``.
            attention_kwargs: ``scale`` is the LoRA scale.
            return_dict: Whether to return an output object or a tuple.
            memory: Reference cache of this pass of guidance (the embedded references), see
                ``.reference_cache``, with gradients if they are needed. Gradient checkpointing
                caches nothing.
            step: What the passes do with the reference stream. They share no work, because the
                first self-attention already includes text.

        Returns:
            Prediction ``[B, F, C_out, H, W]``.

        Raises:
            ValueError: If a reference is given to a model without an expert, without its text or
                in another size than the target, or if the strength is out of range.
        """
        check_strength(reference_strength)
        if reference_strength == 0.0:
            reference_hidden_states = None
        size, dtype = hidden_states.shape, hidden_states.dtype
        temb = self._embed_time(self.time_embedding, timestep, timestep_cond, ofs, dtype)
        video, text = self._embed(self.patch_embed, hidden_states, encoder_hidden_states)
        # No reference is a stream of batch zero, which keeps every block's outputs tensors.
        reference, reference_temb = (video[:0], text[:0]), None
        checkpointing = torch.is_grad_enabled() and self.gradient_checkpointing
        keeping: AbstractContextManager[None] = nullcontext()
        if reference_hidden_states is not None:
            self.require_expert()
            given = (reference_hidden_states, reference_encoder_hidden_states)
            use: ReferenceUse = "run"
            if memory is None:
                embedded = self._embed_references(*given, size)
            else:
                memory.of((size, *given), len(self.transformer_blocks))
                if memory.conditions is None:
                    memory.conditions = self._embed_references(*given, size)
                embedded = memory.conditions
                use = memory.use_references("run" if step is None else step.use)
                if not checkpointing:
                    keeping = memory.within(self.transformer_blocks)
            if use != "read" or checkpointing:
                reference = embedded
            reference_time = timestep if reference_timestep is None else reference_timestep
            reference_temb = self._embed_time(
                self.time_embedding_mot_ref, reference_time, timestep_cond, ofs, dtype
            )
            if image_rotary_emb is None or reference_rotary_emb is None:
                target_table, reference_table = self.rotary_tables(
                    (size[1], *size[3:]), reference_hidden_states.shape[1], hidden_states.device
                )
                image_rotary_emb = image_rotary_emb or target_table
                reference_rotary_emb = reference_rotary_emb or reference_table

        conditions = temb, image_rotary_emb, attention_kwargs
        reference_conditions = reference_temb, reference_rotary_emb, reference_strength
        with keeping:
            for block in self.transformer_blocks:
                run = partial(self._gradient_checkpointing_func, block) if checkpointing else block
                video, text, *rest = run(
                    video, text, *conditions, *reference, *reference_conditions
                )
                # A cache that skips a block returns the target alone.
                reference = rest or reference

        output = self._head(video, temb, size)
        return Transformer2DModelOutput(sample=output) if return_dict else (output,)

    def _embed_time(
        self,
        embedding: nn.Module,
        timestep: torch.Tensor,
        timestep_cond: torch.Tensor | None,
        ofs: torch.Tensor | None,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """Time embedding of a stream, ``[B, D_time]``."""
        temb = embedding(self.time_proj(timestep).to(dtype), timestep_cond)
        if self.ofs_embedding is None:
            return temb
        # A constant of the model rather than of a stream: both share the backbone's.
        return temb + self.ofs_embedding(self.ofs_proj(ofs).to(dtype))

    def _embed(
        self, patch_embed: nn.Module, latents: torch.Tensor, text: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Video tokens ``[B, N, D]`` and text tokens ``[B, L, D]`` of a stream."""
        tokens = self.embedding_dropout(patch_embed(text, latents))
        text_tokens = text.shape[1]
        return tokens[:, text_tokens:], tokens[:, :text_tokens]

    def _embed_references(
        self, latents: torch.Tensor, text: torch.Tensor | None, target: torch.Size
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Embed R references one by one and lay them side by side, ``[B, R·N, D]``; their text."""
        if latents.shape[:1] + latents.shape[2:] != target:
            raise ValueError(
                f"reference_hidden_states has shape {list(latents.shape)}; for a target of shape "
                f"{list(target)} it must be [B, R, F, C, H, W] of the same B, F, C, H and W. "
                "Encode the references at the target's size and number of frames."
            )
        references = latents.shape[:2]
        text = require_for_each_reference(
            "reference_encoder_hidden_states", text, references, "text, [B, R, L, D]"
        )
        streams = self._embed(self.patch_embed_mot_ref, latents.flatten(0, 1), text.flatten(0, 1))
        video, text = (tokens.unflatten(0, references).flatten(1, 2) for tokens in streams)
        return video, text

    def _head(self, video: torch.Tensor, temb: torch.Tensor, size: torch.Size) -> torch.Tensor:
        """Output normalization, projection and unpatching to ``[B, F, C_out, H, W]``."""
        tokens = self.proj_out(self.norm_out(self.norm_final(video), temb=temb))
        batch, frames, _, height, width = size
        p, p_t = self.config.patch_size, self.config.patch_size_t or 1
        cells = (-(-frames // p_t), height // p, width // p)
        # Channels come before the cells of a patch: [B, f, h, w, C, p_t, p, p].
        patches = tokens.reshape(batch, *cells, -1, p_t, p, p)
        latents = patches.permute(0, 1, 5, 4, 2, 6, 3, 7)
        return latents.flatten(6, 7).flatten(4, 5).flatten(1, 2)
