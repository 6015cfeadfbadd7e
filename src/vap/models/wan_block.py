"""One block of the Wan variant: the stock block, and its coupling with an expert block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
from diffusers.models.attention import FeedForward
from diffusers.models.normalization import FP32LayerNorm
from diffusers.models.transformers.transformer_wan import (
    WanAttention,
    WanAttnProcessor,
    WanTransformerBlock,
    _get_qkv_projections,
)
from torch import nn

from vap.models.attention import Projections, joint_attention
from vap.models.rope import RotaryTable


class WanJointAttnProcessor(WanAttnProcessor):
    """Stock self-attention, or joint attention when the reference stream is given."""

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        rotary_emb: RotaryTable | None = None,
        reference_hidden_states: torch.Tensor | None = None,
        reference_rotary_emb: RotaryTable | None = None,
        reference_strength: float = 1.0,
        reference_output: bool = True,
    ) -> Any:
        """Attend.

        Args:
            attn: The target's attention; its ``expert`` holds the reference's.
            hidden_states: Target tokens ``[B, N, D]``.
            encoder_hidden_states: None for self-attention.
            attention_mask: None for joint attention.
            rotary_emb: Target tables ``[1, N, 1, d]``.
            reference_hidden_states: Reference tokens ``[B·R, N, D]``.
            reference_rotary_emb: Reference tables ``[R, N, 1, d]``.
            reference_strength: 0 … 1.
            reference_output: Whether the reference stream is read again later.

        Returns:
            Target output ``[B, N, D]``; where a reference is read again later, a tuple of it and
            the reference's output ``[B·R, N, D]``. Never None: caches keep what is returned.
        """
        if reference_hidden_states is None:
            return super().__call__(
                attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb
            )
        assert rotary_emb is not None
        assert reference_rotary_emb is not None
        (expert,) = attn.expert
        batch = hidden_states.shape[0]
        reference = _project(expert, reference_hidden_states, reference_rotary_emb)
        target_output, reference_attended = joint_attention(
            _project(attn, hidden_states, rotary_emb),
            Projections(
                _side_by_side(reference.query, batch),
                _side_by_side(reference.key, batch),
                _side_by_side(reference.value, batch),
            ),
            strength=reference_strength,
            reference_output=reference_output,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        target = _output(attn, target_output)
        if reference_attended is None:
            return target
        folded = reference_attended.reshape(
            *reference_hidden_states.shape[:2], *target_output.shape[2:]
        )
        return target, _output(expert, folded)


@dataclass(frozen=True, slots=True)
class _Modulation:
    """Adaptive normalisation of one stream in one block, each ``[B, 1, D]`` in float32."""

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
        self.attn1.set_processor(WanJointAttnProcessor())
        self._sizes = (dim, ffn_dim, num_heads, cross_attn_norm, eps, added_kv_proj_dim)
        self.has_expert = False
        self.is_last_expert = False

    def add_expert(self) -> None:
        """Add the expert's twin of every module that has parameters, freshly initialised."""
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
            processor=WanAttnProcessor(),
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

        Returns:
            Both streams; the reference unchanged where there is no expert or no later reader.
        """
        if not self.has_expert or not len(reference_hidden_states):
            target = super().forward(hidden_states, encoder_hidden_states, temb, rotary_emb)
            return target, reference_hidden_states

        modulation = _modulation(self.scale_shift_table, temb)
        reference_modulation = _modulation(self.scale_shift_table_mot_ref, reference_temb)

        attended = self.attn1(
            _modulate(self.norm1, hidden_states, modulation.shift, modulation.scale),
            None,
            None,
            rotary_emb,
            reference_hidden_states=_modulate(
                self.norm1,
                reference_hidden_states,
                reference_modulation.shift,
                reference_modulation.scale,
            ),
            reference_rotary_emb=reference_rotary_emb,
            reference_strength=reference_strength,
            reference_output=not self.is_last_expert,
        )
        attended, reference_attended = (attended, None) if self.is_last_expert else attended
        hidden_states = _gated(hidden_states, attended, modulation.gate)
        hidden_states = self._cross_attend_and_feed_forward(
            hidden_states, encoder_hidden_states, modulation, self.norm2, self.attn2, self.ffn
        )
        if reference_attended is not None:
            reference_hidden_states = self._cross_attend_and_feed_forward(
                _gated(reference_hidden_states, reference_attended, reference_modulation.gate),
                reference_encoder_hidden_states,
                reference_modulation,
                self.norm2_mot_ref,
                self.attn2_mot_ref,
                self.ffn_mot_ref,
            )
        return hidden_states, reference_hidden_states

    def _cross_attend_and_feed_forward(
        self,
        hidden_states: torch.Tensor,
        context: torch.Tensor | None,
        modulation: _Modulation,
        cross_norm: nn.Module,
        cross_attention: nn.Module,
        feed_forward: nn.Module,
    ) -> torch.Tensor:
        """What a stream does on its own after self-attention."""
        normalised = cross_norm(hidden_states.float()).type_as(hidden_states)
        hidden_states = hidden_states + cross_attention(normalised, context, None, None)
        normalised = _modulate(
            self.norm3,
            hidden_states,
            modulation.feed_forward_shift,
            modulation.feed_forward_scale,
        )
        output = feed_forward(normalised)
        return _gated(hidden_states, output.float(), modulation.feed_forward_gate)


def _modulation(table: torch.Tensor, temb: torch.Tensor | None) -> _Modulation:
    assert temb is not None
    return _Modulation(*(table + temb.float()).chunk(6, dim=1))


def _modulate(
    norm: nn.Module, hidden_states: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """Normalise in float32, scale and shift, and return to the stream's precision."""
    return (norm(hidden_states.float()) * (1 + scale) + shift).type_as(hidden_states)


def _gated(hidden_states: torch.Tensor, update: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """Add a gated update in float32, and return to the stream's precision."""
    return (hidden_states.float() + update * gate).type_as(hidden_states)


def _project(attn: WanAttention, tokens: torch.Tensor, rotary: RotaryTable) -> Projections:
    """Queries, keys and values ``[B, N, heads, d]``, normalised across heads and rotated."""
    query, key, value = _get_qkv_projections(attn, tokens, None)
    query = attn.norm_q(query).unflatten(2, (attn.heads, -1))
    key = attn.norm_k(key).unflatten(2, (attn.heads, -1))
    return Projections(
        _rotate(query, rotary), _rotate(key, rotary), value.unflatten(2, (attn.heads, -1))
    )


def _rotate(tokens: torch.Tensor, rotary: RotaryTable) -> torch.Tensor:
    """Turn interleaved pairs of ``[B·R, N, heads, d]`` by tables ``[R, N, 1, d]``."""
    cosines, sines = rotary
    references = len(cosines)
    grouped = tokens.unflatten(0, (-1, references))
    even, odd = grouped.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cosines[..., 0::2], sines[..., 1::2]
    turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)
    return turned.flatten(-2).flatten(0, 1).type_as(tokens)


def _side_by_side(tokens: torch.Tensor, batch: int) -> torch.Tensor:
    """Lay the references of each sample along the tokens: ``[B·R, N, …]`` → ``[B, R·N, …]``."""
    return tokens.reshape(batch, -1, *tokens.shape[2:])


def _output(attn: WanAttention, attended: torch.Tensor) -> torch.Tensor:
    """Output projection of ``[B, N, heads, d]`` to ``[B, N, D]``."""
    projected = attn.to_out[0](attended.flatten(2, 3))
    return attn.to_out[1](projected)


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
