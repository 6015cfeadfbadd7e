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

from vap.models.attention import Coupling, Projections, attend, joint_attention
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
        self, attn: WanAttention, hidden_states: torch.Tensor, *args: Any, **how: Any
    ) -> Any:
        """Attend, or take what another pass of this step has attended; see :meth:`attend`."""
        step = None if self.memory is None else self.memory.step
        if step is None:
            return self.attend(attn, hidden_states, *args, **how)
        if step.attended is None:
            step.attended = self.attend(attn, hidden_states, *args, **how)
        return step.attended

    def attend(
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
        assert rotary_emb is not None
        target = project(attn, hidden_states, rotary_emb)
        how: dict[str, Any] = {
            "backend": self._attention_backend,
            "parallel_config": self._parallel_config,
        }
        kept = self.memory
        reference = kept.reference if kept is not None and kept.reads else None
        if reference is None:
            if reference_hidden_states is None:
                return _output(attn, attend(target.query, target.key, target.value, **how))
            assert reference_rotary_emb is not None
            reference = project(attn.expert[0], reference_hidden_states, reference_rotary_emb)
            if kept is not None:
                kept.keep(reference)
        batch, reference_shape = len(hidden_states), reference.query.shape
        streams = [
            target,
            Projections(
                _side_by_side(reference.query, batch),
                _side_by_side(reference.key, batch),
                _side_by_side(reference.value, batch),
            ),
        ]
        del target, reference
        target_output, reference_attended = joint_attention(
            streams,
            strength=reference_strength,
            reference_output=reference_output and reference_hidden_states is not None,
            **how,
        )
        output = _output(attn, target_output)
        if reference_attended is None:
            return output
        return output, _output(attn.expert[0], reference_attended.reshape(reference_shape))


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
        query = _heads(attn, attn.norm_q(attn.to_q(hidden_states)))
        # Context is whole on every process, so this attention is never shared between them.
        text_key, text_value, *image = context
        attended = self.attend_text(query, text_key, text_value)
        if image:
            to_image = attend(query, *image, backend=self._attention_backend)
            attended = attended + to_image
        return _output(attn, attended)

    def attend_text(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        """Attention of ``[B, N, heads, d]`` to the text's ``[B, L, heads, d]``."""
        padding = TEXT_TOKENS["wan"] - self.text_tokens + 1
        if padding == 1:
            return attend(query, key, value, backend=self._attention_backend)
        # Float32 where kernels take it beside half precision; elsewhere it would be misread.
        precision = torch.float32 if query.device.type == "cpu" else query.dtype
        shape = query.shape[1], self.text_tokens
        bias = torch.zeros(shape, dtype=precision, device=query.device)
        bias[:, -1] = math.log(padding)
        query, key, value = (tokens.transpose(1, 2) for tokens in (query, key, value))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return attended.transpose(1, 2)


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
    keys = [_heads(attn, attn.norm_k(key)), _heads(attn, value)]
    if image is not None:
        key, value = _get_added_kv_projections(attn, image)
        keys += [_heads(attn, attn.norm_added_k(key)), _heads(attn, value)]
    return tuple(keys)


def project(attn: WanAttention, tokens: torch.Tensor, rotary: RotaryTable) -> Projections:
    """Queries, keys and values ``[B, N, heads, d]``, normalized across heads and rotated."""
    query, key, value = _get_qkv_projections(attn, tokens, None)
    # One name each, so that what is no longer needed goes at once.
    query = _rotate(_heads(attn, attn.norm_q(query)), rotary)
    key = _rotate(_heads(attn, attn.norm_k(key)), rotary)
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


def _side_by_side(tokens: torch.Tensor, batch: int) -> torch.Tensor:
    """Lay the references of each sample along the tokens: ``[B·R, N, …]`` → ``[B, R·N, …]``."""
    return tokens.reshape(batch, -1, *tokens.shape[2:])


def _output(attn: WanAttention, attended: torch.Tensor) -> torch.Tensor:
    """Output projection of ``[B, N, heads, d]`` to ``[B, N, D]``."""
    projected = attn.to_out[0](attended.flatten(2, 3))
    return attn.to_out[1](projected)
