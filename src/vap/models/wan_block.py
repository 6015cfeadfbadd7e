"""One block of the Wan variant: the stock block, and its coupling with an expert block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
from diffusers.models.attention import FeedForward
from diffusers.models.normalization import FP32LayerNorm
from diffusers.models.transformers.transformer_wan import (
    WanAttention,
    WanAttnProcessor,
    WanTransformerBlock,
)
from torch import nn
from torch.utils.hooks import RemovableHandle

from vap.models.rope import RotaryTable
from vap.models.wan_attention import WanContextAttnProcessor, WanJointAttnProcessor

_TOKENS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class _Modulation:
    """Adaptive normalization of one stream in one block, each ``[B, 1, D]`` in float32."""

    shift: torch.Tensor
    scale: torch.Tensor
    gate: torch.Tensor
    feed_forward_shift: torch.Tensor
    feed_forward_scale: torch.Tensor
    feed_forward_gate: torch.Tensor


class WanVideoAsPromptBlock(WanTransformerBlock):
    """A Wan block that may have an expert twin for the reference stream.

    Target and reference meet in self-attention only. Everything else each stream does with its
    own weights, its own time, text and image. Constructor arguments are those of the stock block.
    """

    joint_processor: ClassVar = WanJointAttnProcessor
    # What puts the reference stream to the target's, where the streams are coupled by addition.
    addition: RemovableHandle | None = None

    def __init__(
        self,
        dim: int,
        ffn_dim: int,
        num_heads: int,
        qk_norm: str = "rms_norm_across_heads",
        cross_attn_norm: bool = False,
        eps: float = 1e-6,
        added_kv_proj_dim: int | None = None,
    ) -> None:
        super().__init__(dim, ffn_dim, num_heads, qk_norm, cross_attn_norm, eps, added_kv_proj_dim)
        self.attn1.set_processor(self.joint_processor())
        self.attn2.set_processor(WanContextAttnProcessor())
        self._sizes = (dim, ffn_dim, num_heads, cross_attn_norm, eps, added_kv_proj_dim)
        self.has_expert = self.is_last_expert = False

    def add_expert(self) -> None:
        """Add the expert's twin of every module that has parameters, freshly initialized."""
        dim, ffn_dim, num_heads, cross_attn_norm, eps, added_kv_proj_dim = self._sizes
        head_dim = dim // num_heads
        self.attn1_mot_ref = WanAttention(
            dim=dim, heads=num_heads, dim_head=head_dim, eps=eps, processor=WanAttnProcessor()
        )
        self.attn2_mot_ref = WanAttention(
            dim=dim,
            heads=num_heads,
            dim_head=head_dim,
            eps=eps,
            added_kv_proj_dim=added_kv_proj_dim,
            cross_attention_dim_head=head_dim,
            processor=WanContextAttnProcessor(),
        )
        self.norm2_mot_ref = (
            FP32LayerNorm(dim, eps, elementwise_affine=True) if cross_attn_norm else nn.Identity()
        )
        self.ffn_mot_ref = FeedForward(dim, inner_dim=ffn_dim, activation_fn="gelu-approximate")
        self.scale_shift_table_mot_ref = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)
        # A tuple keeps the peer out of attn1's own modules, hence out of the state dict.
        self.attn1.expert = (self.attn1_mot_ref,)
        self.has_expert = True

    def remove_expert(self) -> None:
        """Take the expert's modules out again."""
        if not self.has_expert:
            return
        del self.attn1_mot_ref, self.attn2_mot_ref, self.norm2_mot_ref, self.ffn_mot_ref
        del self.scale_shift_table_mot_ref, self.attn1.expert
        self.has_expert = self.is_last_expert = False

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        temb: torch.Tensor,
        rotary_emb: RotaryTable,
        reference_hidden_states: torch.Tensor,
        reference_encoder_hidden_states: torch.Tensor | None = None,
        reference_temb: torch.Tensor | None = None,
        reference_rotary_emb: RotaryTable | None = None,
        reference_strength: float = 1.0,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Advance both streams by one block.

        Args:
            hidden_states: Target tokens ``[B, N, D]``.
            encoder_hidden_states: Target image and text tokens ``[B, L, D]``.
            temb: Target modulation ``[B, 6, D]``.
            rotary_emb: Target tables ``[1, N, 1, d]``.
            reference_hidden_states: Reference tokens ``[B·R, N, D]``; batch zero for none.
            reference_encoder_hidden_states: Their image and text tokens ``[B·R, L, D]``.
            reference_temb: Their modulation ``[B·R, 6, D]``.
            reference_rotary_emb: Their tables ``[R, N, 1, d]``.
            reference_strength: 0 … 1.
        """
        modulation = _modulation(self.scale_shift_table, temb)
        reference = None
        joint: dict[str, Any] = {}
        if self.has_expert and len(reference_hidden_states):
            reference = _modulation(self.scale_shift_table_mot_ref, reference_temb)
            joint = {
                "reference_hidden_states": _modulate(
                    self.norm1, reference_hidden_states, reference.shift, reference.scale
                ),
                "reference_rotary_emb": reference_rotary_emb,
                "reference_output": not self.is_last_expert,
            }
        if self.has_expert:
            joint["reference_strength"] = reference_strength
        normalized = _modulate(self.norm1, hidden_states, modulation.shift, modulation.scale)
        attended = self.attn1(normalized, None, None, rotary_emb, **joint)
        del normalized, joint  # long streams: their memory is needed by what follows
        if reference is not None and not self.is_last_expert:
            attended, reference_attended = attended
            reference_hidden_states = self._cross_attention_and_ffn(
                reference_hidden_states,
                reference_attended,
                reference_encoder_hidden_states,
                reference,
                expert=True,
            )
        hidden_states = self._cross_attention_and_ffn(
            hidden_states, attended, encoder_hidden_states, modulation
        )
        return hidden_states, reference_hidden_states

    def _cross_attention_and_ffn(
        self,
        hidden_states: torch.Tensor,
        attended: torch.Tensor,
        context: torch.Tensor | None,
        modulation: _Modulation,
        *,
        expert: bool = False,
    ) -> torch.Tensor:
        """What a stream does after self-attention: gate, cross-attention, feed-forward."""
        norm2, attn2, ffn = self.norm2, self.attn2, self.ffn
        if expert:
            norm2, attn2, ffn = self.norm2_mot_ref, self.attn2_mot_ref, self.ffn_mot_ref
        hidden_states = _gated(hidden_states, attended, modulation.gate)
        normalized = norm2(hidden_states.float()).type_as(hidden_states)
        hidden_states = hidden_states + attn2(normalized, context, None, None)
        normalized = _modulate(
            self.norm3, hidden_states, modulation.feed_forward_shift, modulation.feed_forward_scale
        )
        return _gated(hidden_states, ffn(normalized).float(), modulation.feed_forward_gate)


def _modulation(table: torch.Tensor, temb: torch.Tensor | None) -> _Modulation:
    assert temb is not None
    return _Modulation(*(table + temb.float()).chunk(6, dim=1))


def _modulate(
    norm: nn.Module, hidden_states: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """Normalize in float32, scale and shift, and return to the stream's precision."""
    return (norm(hidden_states.float()) * (1 + scale) + shift).type_as(hidden_states)


def _gated(hidden_states: torch.Tensor, update: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """Add a gated update in float32, and return to the stream's precision."""
    parts = [
        (tokens.float() + change * gate).type_as(tokens)
        for tokens, change in zip(
            hidden_states.split(_TOKENS_AT_ONCE, dim=1),
            update.split(_TOKENS_AT_ONCE, dim=1),
            strict=True,
        )
    ]
    return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


class _TwoStreamMetadata(TransformerBlockMetadata):
    """Tells diffusers' block caches that the second stream is the reference, not the text."""

    def _get_parameter_from_args_kwargs(
        self, identifier: str, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # The caches ask for the literal name; in this block it means the text, which they
        # must not cache: what comes back from a block is the reference stream.
        if identifier == "encoder_hidden_states":
            identifier = "reference_hidden_states"
        return super()._get_parameter_from_args_kwargs(identifier, args, kwargs)


TransformerBlockRegistry.register(
    WanVideoAsPromptBlock,
    _TwoStreamMetadata(
        return_hidden_states_index=0,
        return_encoder_hidden_states_index=1,
        hidden_states_argument_name="hidden_states",
        encoder_hidden_states_argument_name="reference_hidden_states",
    ),
)
