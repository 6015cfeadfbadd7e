"""Attention of the Wan variant: a stream's own, joint with the references, and to its context."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.transformers.transformer_wan import (
    WanAttention,
    WanAttnProcessor,
    _get_added_kv_projections,
    _get_qkv_projections,
)

from vap.models.attention import JointAttnProcessor, Projections, attention_kernel
from vap.models.reference_cache import ContextMemory
from vap.models.rope import RotaryTable
from vap.shapes import TEXT_TOKENS


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
