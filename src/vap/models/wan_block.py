"""One block of the Wan variant: the stock block, coupled with an expert block by attention."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
from diffusers.models.transformers.transformer_wan import (
    WanAttention,
    WanAttnProcessor,
    WanTransformerBlock,
    _get_added_kv_projections,
    _get_qkv_projections,
)
from torch import nn

from vap.models.attention import (
    CoupledBlock,
    JointAttnProcessor,
    Projections,
    attention_kernel,
)
from vap.models.reference_cache import ContextMemory
from vap.models.rope import RotaryTable
from vap.shapes import TEXT_TOKENS

_TOKENS_AT_ONCE = 4096


class WanJointAttnProcessor(JointAttnProcessor, WanAttnProcessor):
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
        """Attend, or return what another pass of this step has attended.

        Target ``[B, N, D]``, references ``[B·R, N, D]``; without these, those that were kept are
        read, where this step reads them. Returns the target, or with a reference that is read again
        later both: never None, as caches keep what is returned.
        """
        assert encoder_hidden_states is None
        assert attention_mask is None
        step = None if self.memory is None else self.memory.step
        if step is not None and step.attended is not None:
            return step.attended
        assert rotary_emb is not None
        reference = None
        if reference_hidden_states is not None:
            assert reference_rotary_emb is not None
            reference = partial(
                _project_side_by_side,
                attn.expert[0],
                reference_hidden_states,
                reference_rotary_emb,
                len(hidden_states),
            )
        attended, reference_attended = self._attend(
            [project(attn, hidden_states, rotary_emb)],
            reference,
            strength=reference_strength,
            reference_output=reference_output,
        )
        output: Any = _output(attn, attended)
        if reference_attended is not None:
            assert reference_hidden_states is not None
            each = reference_attended.reshape(
                len(reference_hidden_states), -1, *reference_attended.shape[2:]
            )
            output = output, _output(attn.expert[0], each)
        if step is not None:
            step.attended = output
        return output


class WanContextAttnProcessor(WanAttnProcessor):
    """Stock cross-attention to text and image tokens.

    Wan pads captions to 512 tokens with zeros, so all padding keys and values are equal. In a
    shorter text the last token stands for all of them: with the logarithm of their number added to
    its logit the softmax is the same, at a tenth of the cost.
    """

    text_tokens: int = TEXT_TOKENS["wan"]
    memory: ContextMemory | None = None

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        rotary_emb: RotaryTable | None = None,
    ) -> torch.Tensor:
        """Attend from ``[B, N, D]`` to text and images ``[B, L, D]`` apart, and add both."""
        assert attention_mask is None
        assert rotary_emb is None
        assert encoder_hidden_states is not None
        kept = self.memory
        if kept is None:
            context = context_keys(attn, encoder_hidden_states)
        else:
            if kept.keys is None:
                kept.keys = context_keys(attn, encoder_hidden_states)
            context = kept.keys
        text_key, text_value, *image = context
        query = _heads(attn, attn.norm_q(attn.to_q(hidden_states))).type_as(text_value)
        # Context is whole on every process, so this attention is never shared between them.
        attend = attention_kernel(self._attention_backend)
        padding = TEXT_TOKENS["wan"] - self.text_tokens + 1
        if padding == 1:
            attended = attend(query, text_key, text_value)
        else:
            attended = _attention_with_padding(query, text_key, text_value, padding)
        if image:
            attended = attended + attend(query, *image)
        return _output(attn, attended)


def _attention_with_padding(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, padding: int
) -> torch.Tensor:
    """Attention to ``[B, L, heads, d]`` whose last token stands for so many of padding."""
    # Float32 where kernels take it beside half precision; elsewhere it would be misread.
    precision = torch.float32 if query.device.type == "cpu" else query.dtype
    bias = torch.zeros(query.shape[1], key.shape[1], dtype=precision, device=query.device)
    bias[:, -1] = math.log(padding)
    query, key, value = (tokens.transpose(1, 2) for tokens in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias).transpose(1, 2)


def context_keys(attn: WanAttention, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Keys and values of a context ``[B, L, D]``: the text's, then the images' if it has any.

    Each is ``[B, …, heads, d]``; the processor of ``attn`` knows how many tokens are text.
    """
    text, image = tokens, None
    if attn.add_k_proj is not None:
        images = tokens.shape[1] - attn.processor.text_tokens
        image, text = tokens[:, :images], tokens[:, images:]
    if attn.fused_projections:
        key, value = attn.to_kv(text).chunk(2, dim=-1)
    else:
        key, value = attn.to_k(text), attn.to_v(text)
    keys = [_heads(attn, attn.norm_k(key)).type_as(value), _heads(attn, value)]
    if image is not None:
        key, value = _get_added_kv_projections(attn, image)
        keys += [_heads(attn, attn.norm_added_k(key)).type_as(value), _heads(attn, value)]
    return tuple(keys)


def project(attn: WanAttention, tokens: torch.Tensor, rotary: RotaryTable) -> Projections:
    """Queries, keys and values ``[B, N, heads, d]``, normalized across heads and rotated."""
    query, key, value = _get_qkv_projections(attn, tokens, None)
    # One name each, so that what is no longer needed goes at once.
    query = _rotate(_heads(attn, attn.norm_q(query)), rotary).type_as(value)
    key = _rotate(_heads(attn, attn.norm_k(key)), rotary).type_as(value)
    return Projections(query, key, _heads(attn, value))


def _heads(attn: WanAttention, tokens: torch.Tensor) -> torch.Tensor:
    return tokens.unflatten(2, (attn.heads, -1))


def _rotate(tokens: torch.Tensor, rotary: RotaryTable) -> torch.Tensor:
    """Turn interleaved pairs of ``[B·R, N, heads, d]`` by tables ``[R, N, 1, d]``."""
    cosines, sines = rotary
    references = len(cosines)
    grouped = tokens.unflatten(0, (-1, references))
    even, odd = grouped.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cosines[..., 0::2], sines[..., 1::2]
    # Written half by half: products are float32, and a stack of both halves would be too.
    turned = torch.empty_like(grouped)
    turned[..., 0::2] = even * cos - odd * sin
    turned[..., 1::2] = even * sin + odd * cos
    return turned.flatten(0, 1)


def _project_side_by_side(
    attn: WanAttention, tokens: torch.Tensor, rotary: RotaryTable, batch: int
) -> Projections:
    """Project references ``[B·R, N, D]``, those of a sample along the tokens: ``[B, R·N, …]``."""
    stream = project(attn, tokens, rotary)
    query, key, value = (
        tokens.reshape(batch, -1, *tokens.shape[2:])
        for tokens in (stream.query, stream.key, stream.value)
    )
    return Projections(query, key, value)


def _output(attn: WanAttention, attended: torch.Tensor) -> torch.Tensor:
    """Output projection of ``[B, N, heads, d]`` to ``[B, N, D]``."""
    projected = attn.to_out[0](attended.flatten(2, 3))
    return attn.to_out[1](projected)


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
