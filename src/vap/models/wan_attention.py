"""Attention of the Wan variant: a stream's own, joint with the references, and to its context."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.transformers.transformer_wan import (
    WanAttention,
    WanAttnProcessor,
    _get_added_kv_projections,
    _get_qkv_projections,
)

from vap.models.attention import Coupling, Projections, attention_kernel, joint_attention
from vap.models.reference_cache import BlockMemory, ContextMemory
from vap.models.rope import RotaryTable
from vap.shapes import TEXT_TOKENS


class WanJointAttnProcessor(WanAttnProcessor):
    """Stock self-attention, or joint attention when the reference stream is given.

    Attributes:
        coupling: How the streams meet.
        memory: What is kept over steps, see :mod:`.reference_cache`; None to keep nothing.
    """

    coupling: Coupling = "joint"
    memory: BlockMemory | None = None

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

        Args:
            attn: The target's attention; its ``expert`` holds the references'.
            hidden_states: Target tokens ``[B, N, D]``.
            encoder_hidden_states: None, this is self-attention.
            attention_mask: None, every token attends to every other.
            rotary_emb: Target tables ``[1, N, 1, d]``.
            reference_hidden_states: Reference tokens ``[B·R, N, D]``; None for a target alone, or
                with the references that were kept, where this step reads them.
            reference_rotary_emb: Reference tables ``[R, N, 1, d]``.
            reference_strength: 0 … 1.
            reference_output: Whether the reference stream, if given, is read again later.

        Returns:
            Target output ``[B, N, D]``; where a reference is read again later, a tuple of it and
            the references' output ``[B·R, N, D]``. Never None: caches keep what is returned.
        """
        assert encoder_hidden_states is None
        assert attention_mask is None
        kept = self.memory
        step = None if kept is None else kept.step
        if step is not None and step.attended is not None:
            return step.attended
        assert rotary_emb is not None
        streams = [project(attn, hidden_states, rotary_emb)]
        reference = kept.reference if kept is not None and kept.reads else None
        if reference is None and reference_hidden_states is not None:
            assert reference_rotary_emb is not None
            reference = project(attn.expert[0], reference_hidden_states, reference_rotary_emb)
            if kept is not None:
                kept.keep(reference)
        if reference is not None:
            streams.append(_side_by_side(reference, len(hidden_states)))
        del reference
        attended, reference_attended = joint_attention(
            streams,
            strength=reference_strength,
            reference_output=reference_output and reference_hidden_states is not None,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
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

    Attributes:
        text_tokens: Text tokens at the end of the context; image tokens come before them. If
            fewer than 512, the last of them is padding in every caption.
        memory: Where keys and values are kept over steps; None to keep nothing.
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
        """Attend to the text and to the images, separately, and add what comes of both.

        Args:
            attn: Of target or reference.
            hidden_states: Tokens ``[B, N, D]``.
            encoder_hidden_states: Image and text tokens ``[B, L, D]``.
            attention_mask: None, every token attends to the whole context.
            rotary_emb: None, a context has no positions.

        Returns:
            ``[B, N, D]``.
        """
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

    How many tokens are text, the processor of ``attn`` knows.

    Returns:
        Two or four tensors ``[B, …, heads, d]``, keys normalized.
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


def _side_by_side(stream: Projections, batch: int) -> Projections:
    """Lay the references of each sample along the tokens: ``[B·R, N, …]`` → ``[B, R·N, …]``."""
    query, key, value = (
        tokens.reshape(batch, -1, *tokens.shape[2:])
        for tokens in (stream.query, stream.key, stream.value)
    )
    return Projections(query, key, value)


def _output(attn: WanAttention, attended: torch.Tensor) -> torch.Tensor:
    """Output projection of ``[B, N, heads, d]`` to ``[B, N, D]``."""
    projected = attn.to_out[0](attended.flatten(2, 3))
    return attn.to_out[1](projected)
