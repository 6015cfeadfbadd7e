"""One block of the Wan variant: the stock block, and its coupling with an expert block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from torch import nn

from vap.models.attention import CoupledBlock
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


class WanVideoAsPromptBlock(CoupledBlock, WanTransformerBlock):
    """A Wan block that may have an expert twin for the reference stream."""

    stock_block = WanTransformerBlock
    joint_processor = WanJointAttnProcessor
    expert_parts = ("attn1", "attn2", "norm2", "ffn", "scale_shift_table")

    def __init__(self, *sizes: Any) -> None:
        super().__init__(*sizes)
        self.attn2.set_processor(WanContextAttnProcessor())

    def add_expert(self) -> None:
        """Add the expert: the modules of a second stock block, freshly initialized."""
        super().add_expert()
        self.attn2_mot_ref.set_processor(WanContextAttnProcessor())

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

        Target: tokens ``[B, N, D]``, image and text ``[B, L, D]``, modulation ``[B, 6, D]``, tables
        ``[1, N, 1, d]``. References the same with batch B·R and tables ``[R, N, 1, d]``; batch zero
        for none.
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
