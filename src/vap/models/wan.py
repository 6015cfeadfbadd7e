"""Wan2.1 image-to-video transformer with a reference stream (paper figure 3).

The backbone keeps its stock modules and names; parameters of the expert have the released suffix
``_mot_ref``.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
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

from vap.models.attention import require_for_each_reference
from vap.models.expert import ExpertMixin, takes_arguments_of
from vap.models.reference_cache import GenerationMemory, ReferenceUse, StepMemory
from vap.models.rope import ReferencePositions, RotaryTable, WanReferenceRotaryEmbedding
from vap.models.wan_block import WanVideoAsPromptBlock
from vap.shapes import TEXT_TOKENS, check_strength


@dataclass(frozen=True, slots=True)
class ReferenceConditions:
    """The references, embedded; context, modulation and rotary are None where there are none."""

    tokens: torch.Tensor
    context: torch.Tensor | None
    modulation: torch.Tensor | None
    rotary: RotaryTable | None
    text_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Conditions:
    """All that no step changes; context is image and text tokens ``[B, L, D]``."""

    context: torch.Tensor
    rotary: RotaryTable
    text_tokens: int
    reference: ReferenceConditions | None


class WanVideoAsPromptTransformer3DModel(ExpertMixin, WanTransformer3DModel):
    """Frozen Wan2.1-I2V backbone, guided by an expert that reads reference videos.

    Without an expert, or called without a reference, it is the stock model, bit for bit.
    Arguments are those of diffusers' model, by name, and two of its own; the other ones of the
    release are unset in every checkpoint.

    Args:
        block_idx_with_mot_ref: Depths that have an expert block; None for no expert.
        reference_positions: Placement of the references, see ``vap.models.rope``.
    """

    _reads_padding_once: bool = False

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

    @takes_arguments_of(WanTransformer3DModel)
    def __init__(
        self,
        *,
        block_idx_with_mot_ref: list[int] | None = None,
        reference_positions: ReferencePositions = "before",
        attention_head_dim_mot_ref: int | None = None,
        supported_effect_types: list[str] | None = None,
        num_ref_embeddings: int | None = None,
        reference_train_mode: str | None = None,
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
        )
        config = self.config
        self.reference_rope = WanReferenceRotaryEmbedding(
            config.attention_head_dim, config.patch_size
        )

    def _new_block(self) -> WanVideoAsPromptBlock:
        config = self.config
        return WanVideoAsPromptBlock(
            config.num_attention_heads * config.attention_head_dim,
            config.ffn_dim,
            config.num_attention_heads,
            config.qk_norm or "rms_norm_across_heads",
            config.cross_attn_norm,
            config.eps,
            config.added_kv_proj_dim,
        )

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
        memory: GenerationMemory | None = None,
        step: StepMemory | None = None,
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
            reference_strength: 0 … 1, see ``vap.models.attention.joint_attention``.
            return_dict: Whether to return an output object or a tuple.
            attention_kwargs: ``scale`` is the LoRA scale.
            memory: Reference cache of this pass of guidance, see ``.reference_cache``, with
                gradients if they are needed. Gradient checkpointing caches nothing.
            step: What the passes share at this step; they must differ only in their texts.

        Returns:
            Prediction ``[B, C_out, F, H, W]``.

        Raises:
            ValueError: If a reference is given to a model without an expert, or without its own
                text and image tokens, or if the strength is out of range.
        """
        check_strength(reference_strength)
        if reference_strength == 0.0:
            reference_hidden_states = None
        checkpointing = torch.is_grad_enabled() and self.gradient_checkpointing
        keeping: AbstractContextManager[None] = nullcontext()
        given = (
            encoder_hidden_states,
            encoder_hidden_states_image,
            reference_hidden_states,
            reference_encoder_hidden_states,
            reference_encoder_hidden_states_image,
            reference_timestep,
        )
        if memory is None:
            conditions, use = self._conditions(hidden_states, *given), "run"
        else:
            memory.of((hidden_states.shape, *given), len(self.blocks))
            if memory.conditions is None:
                memory.conditions = self._conditions(hidden_states, *given)
            conditions = memory.conditions
            use = memory.use_references(self._reference_use(step), self._constant_depth)
            if not checkpointing:
                keeping = memory.within(self.blocks, step if self.coupling == "joint" else None)
        size = hidden_states.shape[2:]
        temb, modulation = embed_time(self.condition_embedder, timestep, encoder_hidden_states)
        hidden_states = patch_tokens(self.patch_embedding, hidden_states)
        reference = conditions.reference
        if reference is None or (use == "read" and not checkpointing):
            # No reference is a stream of batch zero, which keeps every block's outputs tensors.
            reference = ReferenceConditions(hidden_states[:0], None, None, None)
        if self.reads_padding_once:
            self._tell_text_tokens(conditions.text_tokens, reference.text_tokens)
        reference_tokens = reference.tokens
        with keeping:
            for block in self.blocks:
                run = partial(self._gradient_checkpointing_func, block) if checkpointing else block
                hidden_states, reference_tokens = run(
                    hidden_states,
                    conditions.context,
                    modulation,
                    conditions.rotary,
                    reference_tokens,
                    reference.context,
                    reference.modulation,
                    reference.rotary,
                    reference_strength,
                )
        output = self._head(hidden_states, temb, size)
        return Transformer2DModelOutput(sample=output) if return_dict else (output,)

    def _reference_use(self, step: StepMemory | None) -> ReferenceUse:
        """What a forward does with the reference stream."""
        if step is None:
            return "run"
        return "read" if self.coupling == "one-way" else step.use

    @property
    def _constant_depth(self) -> int | None:
        """Of the block whose references no step changes: no target has reached them before it."""
        return self.expert_depths[0] if self.expert_depths and self.coupling == "joint" else None

    def _conditions(
        self,
        latents: torch.Tensor,
        text: torch.Tensor,
        image: torch.Tensor | None,
        reference_latents: torch.Tensor | None,
        reference_text: torch.Tensor | None,
        reference_image: torch.Tensor | None,
        reference_timestep: torch.Tensor | None,
    ) -> Conditions:
        """What of the inputs is the same at every step."""
        reference = None
        if reference_latents is not None:
            self.require_expert()
            reference = self._embed_reference(
                reference_latents,
                *self._check_reference(reference_latents, reference_text, reference_image),
                reference_timestep,
            )
        text, tokens = self._as_read(text)
        context = embed_context(self.condition_embedder, text, image, self.config.pos_embed_seq_len)
        self._check_positions(latents)
        return Conditions(context, self.rope(latents), tokens, reference)

    def _check_positions(self, latents: torch.Tensor) -> None:
        most = self.config.rope_max_seq_len
        needed = max(n // p for n, p in zip(latents.shape[2:], self.config.patch_size, strict=True))
        if needed > most:
            raise ValueError(
                f"A video of this size needs {needed} positions along one axis, and the "
                f"transformer's config has rope_max_seq_len={most}. Correct the config (the "
                "released models have 1024), or generate a smaller or shorter video."
            )

    def _as_read(self, text: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Embedded texts, and the lengths that cross-attention needs."""
        return without_padding(text) if self.reads_padding_once else (text, TEXT_TOKENS["wan"])

    @property
    def reads_padding_once(self) -> bool:
        """Whether one token stands for all padding of the texts: the same to rounding."""
        return self._reads_padding_once

    @reads_padding_once.setter
    def reads_padding_once(self, once: bool) -> None:
        self._reads_padding_once = once
        if not once:
            whole = TEXT_TOKENS["wan"]
            self._tell_text_tokens(whole, whole)

    def _tell_text_tokens(self, target: int, reference: int) -> None:
        """Let cross-attention know where the images of its context end and the text begins."""
        for block in self.expert_blocks:
            block.attn2.processor.text_tokens = target
            if block.has_expert:
                block.attn2_mot_ref.processor.text_tokens = reference

    def _embed_reference(
        self,
        latents: torch.Tensor,
        text: torch.Tensor,
        image: torch.Tensor | None,
        timestep: torch.Tensor | None,
    ) -> ReferenceConditions:
        """Embed the references."""
        count = latents.shape[1]
        if timestep is None:
            timestep = latents.new_ones(latents.shape[0], dtype=torch.int64)
        embedder, text = self.condition_embedder_mot_ref, text.flatten(0, 1)
        text, tokens = self._as_read(text)
        image = None if image is None else image.flatten(0, 1)
        _, modulation = embed_time(embedder, timestep.repeat_interleave(count), text)
        return ReferenceConditions(
            patch_tokens(self.patch_embedding_mot_ref, latents.flatten(0, 1)),
            embed_context(embedder, text, image, self.config.pos_embed_seq_len),
            modulation,
            self.reference_rope(latents, self.config.reference_positions),
            tokens,
        )

    def _check_reference(
        self, latents: torch.Tensor, text: torch.Tensor | None, image: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Text and image tokens of the references, found to be one set for each."""
        if latents.ndim != 6:  # noqa: PLR2004 - [B, R, C, F, H, W]
            raise ValueError(
                f"reference_hidden_states has shape {list(latents.shape)}; it must be "
                "[B, R, C, F, H, W]. A single reference has R = 1."
            )
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
        """Output normalization, projection and unpatching to ``[B, C_out, F, H, W]``."""
        table = self.scale_shift_table.to(temb.device) + temb.unsqueeze(1)
        shift, scale = (part.to(hidden_states.device) for part in table.chunk(2, dim=1))
        normalized = self.norm_out(hidden_states.float()) * (1 + scale) + shift
        output = self.proj_out(normalized.type_as(hidden_states))
        patch = self.config.patch_size
        cells = [extent // step for extent, step in zip(size, patch, strict=True)]
        output = output.reshape(len(output), *cells, *patch, -1).permute(0, 7, 1, 4, 2, 5, 3, 6)
        return output.flatten(6, 7).flatten(4, 5).flatten(2, 3)


def without_padding(text: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Texts ``[B, 512, D]`` with one token of padding, which is zero, behind the longest."""
    whole = TEXT_TOKENS["wan"]
    if text.shape[1] != whole:
        return text, whole
    used = text.any(dim=-1).any(dim=0).nonzero()
    length = int(used.max()) + 1 if len(used) else 0
    text = text[:, : length + 1]
    return text, text.shape[1]


def embed_context(
    embedder: Any, text: torch.Tensor, image: torch.Tensor | None, pair: int | None
) -> torch.Tensor:
    """Image and text tokens of a stream, ``[B, L, D]``.

    ``pair`` is the number of image tokens of a first and a last frame, for models that take both.
    """
    text = embedder.text_embedder(text)
    if image is None:
        return text
    if pair is not None:
        # The stock embedder takes first and last image as neighbors in the batch.
        image = image.reshape(-1, pair // 2, image.shape[-1])
    return torch.cat([embedder.image_embedder(image), text], dim=1)


def embed_time(
    embedder: Any, timestep: torch.Tensor, like: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Time embedding ``[B, D]`` in the precision of the text, and modulation ``[B, 6, D]``."""
    frequencies = embedder.timesteps_proj(timestep)
    precision = next(embedder.time_embedder.parameters()).dtype
    if precision.is_floating_point:
        frequencies = frequencies.to(precision)
    temb = embedder.time_embedder(frequencies).type_as(like)
    return temb, embedder.time_proj(embedder.act_fn(temb)).unflatten(1, (6, -1))


def patch_tokens(patch_embedding: Any, latents: torch.Tensor) -> torch.Tensor:
    """Patch latents ``[B, C, F, H, W]`` into tokens ``[B, N, D]``."""
    return patch_embedding(latents).flatten(2).transpose(1, 2).contiguous()
